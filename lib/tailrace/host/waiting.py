"""Waiting for something to become true, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    condition: Callable[[], T],
    timeout_s: float,
    every_s: float = 0.01,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """Return the first true answer of `condition`, or its last one once `timeout_s` is over."""
    deadline = clock() + timeout_s
    while not (answer := condition()) and clock() < deadline:
        sleep(every_s)
    return answer
