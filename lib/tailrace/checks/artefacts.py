"""Does any artefact of a run contain a credential?"""

from __future__ import annotations

from collections.abc import Sequence

from tailrace.run.leaks import Leak
from tailrace.verdict import Check


def no_credential(leaks: Sequence[Leak], files: int) -> Check:
    """Decide whether a scan of `files` files found no credential; without a file, nothing is decided."""
    fact = f"{files} files read" + (": " + "; ".join(f"{leak.kind} in {leak.file}" for leak in leaks) if leaks else "")
    return Check("no credential in the artefacts", not leaks if files else None, fact)
