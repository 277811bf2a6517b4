"""Calls as log lines: JSON for the standard library, events with fields for structlog."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from tailrace.client.accounting import Call

EVENT = "llm_call"


class Structured(Protocol):
    """A logger of structlog, or one like it."""

    def info(self, event: str, **fields: Any) -> Any: ...

    def warning(self, event: str, **fields: Any) -> Any: ...


def json_log(logger: logging.Logger) -> Callable[[Call], None]:
    """Return a hook that logs each call as one line of JSON; failures as warnings."""

    def hook(call: Call) -> None:
        level = logging.WARNING if call.outcome == "error" else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s", orjson.dumps({"event": EVENT, **fields(call)}).decode())

    return hook


def structured(logger: Structured) -> Callable[[Call], None]:
    """Return a hook that logs each call as an event with fields, as structlog takes them."""

    def hook(call: Call) -> None:
        log = logger.warning if call.outcome == "error" else logger.info
        log(EVENT, **fields(call))

    return hook


def fields(call: Call) -> dict[str, Any]:
    """Return the call's fields, durations to the microsecond; the gaps of a stream are too many for a line."""
    found = call._asdict()
    del found["gaps_us"]
    return {name: _to_the_microsecond(value) if name.endswith("_s") else value for name, value in found.items()}


def _to_the_microsecond(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
