"""Points at which a test kills the controller, chosen by one environment variable; without it, nothing happens."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping

from tailrace.host import files

VARIABLE = "TAILRACE_FAULT_POINT"


def from_environment(environment: Mapping[str, str] = os.environ) -> Callable[[str], None]:
    """Return a function to call at every fault point: it kills this process at the one that the environment names."""
    chosen = environment.get(VARIABLE)
    if not chosen:
        return files.nothing

    def reach(point: str) -> None:
        if point == chosen:
            os.kill(os.getpid(), signal.SIGKILL)

    return reach
