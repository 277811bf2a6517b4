"""Calls and attempts as log lines: JSON for the standard library, events with fields for structlog."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from tailrace.client.accounting import Attempt, Call

EVENT = "llm_call"
ATTEMPT_EVENT = "llm_attempt"


class Structured(Protocol):
    """A logger of structlog, or one like it."""

    def info(self, event: str, **fields: Any) -> Any: ...

    def warning(self, event: str, **fields: Any) -> Any: ...


def json_log(logger: logging.Logger) -> Callable[[Call | Attempt], None]:
    """Return a hook that logs each call, or each attempt, as one line of JSON; failures as warnings."""

    def hook(row: Call | Attempt) -> None:
        level = logging.WARNING if _failed(row) else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s", orjson.dumps({"event": _event(row), **fields(row)}).decode())

    return hook


def structured(logger: Structured) -> Callable[[Call | Attempt], None]:
    """Return a hook that logs each call, or each attempt, as an event with fields, as structlog takes them."""

    def hook(row: Call | Attempt) -> None:
        log = logger.warning if _failed(row) else logger.info
        log(_event(row), **fields(row))

    return hook


def fields(row: Call | Attempt) -> dict[str, Any]:
    """Return the fields of a row, durations to the microsecond; the gaps of a stream are too many for a line."""
    found = row._asdict()
    found.pop("gaps_us", None)
    return {name: _to_the_microsecond(value) if name.endswith("_s") else value for name, value in found.items()}


def _failed(row: Call | Attempt) -> bool:
    return row.cause is not None if isinstance(row, Attempt) else row.outcome == "error"


def _event(row: Call | Attempt) -> str:
    return ATTEMPT_EVENT if isinstance(row, Attempt) else EVENT


def _to_the_microsecond(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
