"""What the supervisor of an instance runs before it starts it again: journal it, and say from which files it runs now.

Run as `python -m tailrace.deploy.engines.process.restart HOME DEPLOYMENT RELEASE PORT FACT`; it prints what
`host.supervised.Order.helper` may. An instance that is restarted runs its own release: when the files on disk have been
edited since, those that were kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tailrace.deploy import kept_copy
from tailrace.deploy.journal import Journal
from tailrace.deploy.release import Release, filled
from tailrace.deploy.releases import Releases
from tailrace.errors import DeployError
from tailrace.profile import Acceptance

HOST = "127.0.0.1"


def helper(home: Path, deployment: str, release: Release, port: int) -> list[str]:
    """Return the command that the supervisor of an instance runs, without the fact."""
    return [sys.executable, "-m", __name__, str(home), deployment, release.id, str(port)]


def words(release: Release, command: Sequence[str], port: int) -> list[str]:
    """Return the words of an instance's command."""
    python = f"{release.facts['folder']}/env/bin/python" if "folder" in release.facts else sys.executable
    return filled(command, host=HOST, port=str(port), python=python)


def answer(home: Path, deployment: str, id: str, port: int, fact: str) -> dict[str, Any]:
    """Journal `fact`, if there is one, and return what to start now."""
    try:
        release = Releases(home / deployment / "releases", Acceptance()).find(id)
        place = kept_copy.place(release, home / "releases")
        if fact:
            told = "; ".join(filter(None, (fact, place.fact)))
            Journal(home / deployment / "journal.jsonl").append("", "note", "instance ended", told)
    except DeployError as error:
        return {"problem": str(error)}
    moved = {name: value for name, value in place.environment.items() if value != release.environment.get(name)}
    directory = str(place.directory) if place.directory else None
    return {"command": words(release, place.command, port), "directory": directory, "environment": moved}


if __name__ == "__main__":
    place, deployment, id, port, fact = sys.argv[1:]
    print(json.dumps(answer(Path(place), deployment, id, int(port), fact)))
