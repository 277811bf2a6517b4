"""Is a credential left in what a run leaves behind?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tailrace.profile import Profile
from tailrace.run import leaks
from tailrace.verdict import Check


def no_credential(run: Path, profile: Profile, environment: Mapping[str, str] = os.environ) -> Check:
    """Read every file of the run so far, compressed columns included; the runner does so again at the very end."""
    found = leaks.scan(run, leaks.secrets(profile, environment))
    count = sum(1 for path in run.rglob("*") if path.is_file())
    fact = f"{count} files read" + (": " + "; ".join(f"{leak.kind} in {leak.file}" for leak in found) if found else "")
    return Check("no credential in the artefacts", None if not count else not found, fact)
