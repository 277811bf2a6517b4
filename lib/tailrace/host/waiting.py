"""Wait until a condition holds, with a time limit."""

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
    """Call `condition` until it returns something true, or `timeout_s` is over; return its last result.

    The last call begins after that time: what came just before the limit counts, however long a call takes.
    """
    deadline = clock() + timeout_s
    while True:
        is_last = clock() >= deadline
        if (result := condition()) or is_last:
            return result
        sleep(every_s)
