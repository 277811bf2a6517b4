"""The limit of open files, and so of connections, of this process."""

from __future__ import annotations

import contextlib
import resource
from typing import Final

MOST: Final = 65_536
"""Raised no further: an address has no more ports, and tables of a billion descriptors are slow to walk."""


def raise_limit() -> int:
    """Raise the soft limit to the hard one, at most to `MOST`; return the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return MOST if soft == resource.RLIM_INFINITY else soft
