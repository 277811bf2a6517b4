"""How many connections an edge takes, as the files of its machine allow."""

from __future__ import annotations

import resource

MAX_CONNECTIONS = 10_000
"""Connections at the front door, where the limit of open files leaves room for them and for those to instances."""
OWN_FILES = 400
"""Files of its own, and connections at its other doors, which have no limit."""


def max_connections(files: int | None = None) -> int:
    """Return how many connections the front door takes, with `files` that a process of this user may have open.

    For each five of them there may be two to an instance of each colour.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1] if files is None else files
    if hard == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, (hard - OWN_FILES) * 5 // 9))
