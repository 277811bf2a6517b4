"""Limits for a block of code: a deadline and a tenant for every call within it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple


class Scope(NamedTuple):
    deadline_at: float | None  # time.perf_counter()
    tenant: str


NOWHERE = Scope(None, "")
_scope: ContextVar[Scope] = ContextVar("tailrace_scope", default=NOWHERE)


def current() -> Scope:
    """Return the limits of the enclosing block."""
    return _scope.get()


@contextmanager
def limits(*, deadline_s: float | None = None, tenant: str | None = None) -> Iterator[None]:
    """Limit every call within the block to a deadline, waiting included, and separate its answers by tenant.

    `deadline_s` counts from the entry of the block; of nested blocks the earliest deadline counts.
    """
    outer = _scope.get()
    if deadline_s is not None and not deadline_s > 0:
        raise ValueError(f"limits(deadline_s={deadline_s}): expected more than 0 seconds")
    if tenant is not None and not isinstance(tenant, str):
        raise ValueError(f"limits(tenant=…): expected text, found {type(tenant).__name__}")
    deadline_at = None if deadline_s is None else time.perf_counter() + deadline_s
    token = _scope.set(Scope(earlier(outer.deadline_at, deadline_at), outer.tenant if tenant is None else tenant))
    try:
        yield
    finally:
        _scope.reset(token)


def earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two moments; None means not set."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
