"""All deployments of a project, from their folders: also of a profile whose file is gone, or cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailrace import profile as profiles
from tailrace.deploy.deployment import Deployment
from tailrace.deploy.edge import layout
from tailrace.deploy.status import Status
from tailrace.errors import TailraceError
from tailrace.profile import Profile

OF_A_DEPLOYMENT = (layout.NAME, "journal.jsonl", "processes", "edge")


@dataclass(frozen=True)
class Listed:
    """One deployment: `state` in a word or two, and what else a reader needs to act on it.

    `exit_status` is that of its `status`: 1 for one that is up and does not serve, or that cannot be read.
    """

    name: str
    state: str
    serving: str
    release: str
    url: str
    ports: tuple[int, ...]
    since: str
    """When its last rollout ended, by the wall clock."""
    fact: str
    exit_status: int

    def document(self) -> dict[str, Any]:
        return asdict(self)


def listed(root: Path, home: Path) -> list[Listed]:
    """Return every deployment in `home` of the project at `root`, by name; one that cannot be read is told as such."""
    folders = sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
    return [_listed(root, folder) for folder in folders if any((folder / name).exists() for name in OF_A_DEPLOYMENT)]


def _listed(root: Path, folder: Path) -> Listed:
    gone = ""
    try:
        try:
            profile = profiles.load(folder.name, root)
        except TailraceError as error:
            gone = " ".join(str(error).split())[:200]
            profile = Profile.model_validate({"name": folder.name, "engine": _engine(folder)})
        return _of(Deployment.open(profile, folder.parent), gone)
    except (TailraceError, OSError, ValueError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        return Listed(folder.name, "unreadable", "", "", "", (), "", f"{type(error).__name__}: {reason}", 1)


def _of(deployment: Deployment, gone: str) -> Listed:
    now = deployment.status()
    slot, ends = now.slot(now.serving), [entry for entry in deployment.journal.entries() if entry.kind == "end"]
    facts = [now.damaged, "" if now.serving else now.answer, f"without its profile: {gone}" if gone else ""]
    return Listed(
        now.name, state(now), now.serving, slot.release if slot else "", now.url, tuple(_ports(deployment)),
        ends[-1].at if ends else "", "; ".join(filter(None, facts)), int(bool(now.url) and not now.serving),
    )  # fmt: skip


def state(now: Status) -> str:
    """Return the state of a deployment in a word or two."""
    words = {
        "busy": now.busy,
        "damaged": bool(now.damaged),
        "half-way": bool(now.unfinished),
        "maintenance": now.maintenance,
        "paused": now.paused,
        "serves": bool(now.serving),
        "down": not now.url,
    }
    return next((word for word, holds in words.items() if holds), "does not serve")


def _ports(deployment: Deployment) -> Iterator[int]:
    """Yield its front door, then the ports of its instances."""
    if deployment.is_up:
        yield deployment.edge.layout.ingress.port
    yield from (instance.address.port for instance in deployment.instances)


def _engine(folder: Path) -> str:
    """Return the engine of a deployment whose profile is gone: that of its journal, else what its folder looks like."""
    lines = (folder / "journal.jsonl").read_text(encoding="utf-8").splitlines() if _has_journal(folder) else []
    engines = [json.loads(line)["data"].get("engine") for line in lines if '"engine"' in line]
    return next((engine for engine in reversed(engines) if engine), "process")


def _has_journal(folder: Path) -> bool:
    return (folder / "journal.jsonl").is_file()
