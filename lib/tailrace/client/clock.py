"""Time and randomness, injected wherever a decision depends on them."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic` measures durations and `wall` dates stored answers, in seconds. `chance` is uniform in [0, 1).

    `unique` returns so many unique bytes; not from `random`, which many programs seed.
    """

    monotonic: Callable[[], float] = time.perf_counter
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
    unique: Callable[[int], bytes] = os.urandom
