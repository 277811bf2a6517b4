"""What is kept of former releases: the last ones, what serves, and where a rollback goes; the rest is removed.

A deployment keeps about `KEPT` releases. What they share with other deployments of the home (built environments, copies
of files) goes once no list names it; what was used in the last hour stays, for a build in progress.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tailrace.deploy import history
from tailrace.errors import DeployError

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

KEPT = 10
USED_S = 3600.0


def prune(deployment: Deployment, now_s: float | None = None) -> list[str]:
    """Remove the releases of `deployment` that are not kept, then what no deployment needs; return the ids.

    Nothing that is shared is removed while the list of any deployment cannot be read. Raises OSError.
    """
    needed = _needed(deployment)
    removed = [id for id in deployment.releases.ids() if id not in needed]
    for id in removed:
        deployment.releases.remove(id)
    if (facts := _facts(deployment.folder.parent)) is not None:
        _prune_shared(deployment.built, facts, (time.time() if now_s is None else now_s) - USED_S)
    return removed


def _needed(deployment: Deployment) -> set[str]:
    """Return the ids of the last releases, of all instances, of the rollback's target and of an unfinished rollout."""
    entries = deployment.journal.entries()
    begun = [entry.data["release"] for entry in reversed(entries) if entry.kind == "begin"]
    running = {instance.release for instance in deployment.instances}
    return {*list(dict.fromkeys(begun))[:KEPT], *running, history.previous_release(entries)[0]}


def _facts(home: Path) -> list[dict[str, Any]] | None:
    """Return the facts of every release of every deployment in `home`; None when one of them cannot be read."""
    try:
        return [json.loads(path.read_text(encoding="utf-8"))["facts"] for path in home.glob("*/releases/*.json")]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _prune_shared(built: Path, facts: Iterable[dict[str, Any]], before_s: float) -> None:
    sources = {str(fact["source"]) for fact in facts if "source" in fact}
    environments = {Path(fact["folder"]).name for fact in facts if "folder" in fact}
    for path in _unused((built / "sources").glob("*"), before_s):
        if path.name.partition(".")[0] not in sources:
            _remove(path)
    for path in _unused(built.glob("*/release.json"), before_s):
        if path.parent.name not in environments:
            _remove(path.parent)
    contents = _contents(built / "sources")
    for path in _unused((built / "objects").glob("*/*"), before_s):
        if contents is not None and path.name not in contents:
            _remove(path)


def _contents(sources: Path) -> set[str] | None:
    """Return the digest of every file in the lists that are left; None when one of them cannot be read."""
    try:
        lists = [json.loads(path.read_text(encoding="utf-8"))["files"] for path in sources.glob("*.json")]
        return {file["sha256"] for files in lists for file in files.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _unused(paths: Iterable[Path], before_s: float) -> Iterator[Path]:
    for path in list(paths):
        if path.stat().st_mtime < before_s:
            yield path


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def after_rollout(deployment: Deployment) -> None:
    """Prune, and journal what cannot be removed: a rollout that succeeded does not fail by it."""
    try:
        prune(deployment)
    except (OSError, DeployError) as error:
        with contextlib.suppress(DeployError):
            deployment.journal.append("", "note", "pruning", f"former releases could not be removed: {error}")
