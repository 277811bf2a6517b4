"""Evidence about the content of a release; whether it is good enough is decided elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tailrace.verdict import Check


@dataclass(frozen=True)
class Inspection:
    """Evidence about one release; what does not apply to its kind is empty."""

    packages: Mapping[str, str] = field(default_factory=dict)
    """Versions of the installed packages, by name."""
    lock: str = ""
    """The text of the lock file that they were installed from."""
    files: Sequence[str] = ()
    """Paths of the files in it, those of tailrace among them."""
    imported: Sequence[str] = ()
    """Names of the modules of tailrace that the service imports."""
    digest: str = ""
    rebuilt_digest: str = ""
    """Of the same source, built once more from nothing."""
    texts: Sequence[tuple[str, str]] = ()
    """Name and text of each file that tailrace itself ships in it."""
    hardening: Sequence[Check] = ()
    """Checks of an image that was run, made to hang and searched."""
