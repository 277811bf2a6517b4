"""How deep the tests go: quick on a developer's machine, full in CI (`make test-all` sets TAILRACE_DEPTH=full)."""

import os
from typing import TypeVar

T = TypeVar("T")

FULL = os.environ.get("TAILRACE_DEPTH", "quick") == "full"


def scaled(full: T, quick: T) -> T:
    """Return `full` at full depth and `quick` otherwise: a number of examples, of switches, of seconds."""
    return full if FULL else quick
