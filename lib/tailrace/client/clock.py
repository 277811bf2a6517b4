"""Time and chance, injected wherever a decision depends on them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic` measures, `wall` dates what outlives the process, `chance` is uniform in [0, 1). All in seconds."""

    monotonic: Callable[[], float] = time.perf_counter
    wall: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random
