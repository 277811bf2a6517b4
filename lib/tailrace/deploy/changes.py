"""What is new in a release, in words: names of files, settings and secrets, never a value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tailrace.deploy import source
from tailrace.deploy.release import Release
from tailrace.errors import DeployError
from tailrace.profile import Acceptance

SHOWN = 3


def changes(old: Release, new: Release, releases: Path) -> tuple[str, ...]:
    """Return what differs between two releases, the most telling first; `releases` has the lists of their files."""
    return (*_build(old, new, releases), *_settings(old, new), *_secrets(old, new), *_acceptance(old, new))


def rotated(old: Release, new: Release) -> list[str]:
    """Return the names of the secrets of which `old` had another value than `new` has."""
    return [name for name, sealed in old.secrets.items() if new.secrets.get(name, sealed) != sealed]


def compared(release: Release, releases: Path) -> str:
    """Return what was compared to find that a release is the same as another."""
    counted = {"setting": len(release.environment), "secret": len(release.secrets)}
    facts = [f"{count} {name}{'s' * (count != 1)}" for name, count in counted.items() if count]
    what = {"environment": "its build", "image": "its image", "command": f"its words and {_files(release, releases)}"}
    return ", ".join([what[release.kind], *facts, "health checks"])


def differing(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Return the names whose value is not the same in both."""
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _files(release: Release, releases: Path) -> str:
    if not (files := _source(release, releases)):
        return "no file (none is named in them; list yours under service.source)"
    return f"{len(files)} file{'s' * (len(files) != 1)} ({shortened(sorted(files))})"


def _build(old: Release, new: Release, releases: Path) -> Iterator[str]:
    if old.command != new.command:
        yield "command changed"
    if old.port != new.port:
        yield "service.container_port changed"
    if old.build == new.build:
        return
    if names := differing(_source(old, releases), _source(new, releases)):
        yield f"source changed: {shortened(names)}"
    elif old.kind != new.kind or new.kind != "command":
        yield f"{new.kind} changed"


def _source(release: Release, releases: Path) -> Mapping[str, object]:
    """Return the files of a release by the names that messages have for them; empty where their list is gone."""
    try:
        found = source.read(releases, release.facts["source"]) if "source" in release.facts else None
    except DeployError:
        return {}
    return {found.label(path): file for path, file in found.files.items()} if found else {}


def _settings(old: Release, new: Release) -> Iterator[str]:
    if names := differing(old.environment, new.environment):
        yield f"{shortened(names)} changed"


def _secrets(old: Release, new: Release) -> Iterator[str]:
    if names := rotated(old, new):
        yield f"{shortened(names)} {'was' if len(names) == 1 else 'were'} rotated"
    if names := sorted(new.secrets.keys() - old.secrets.keys()):
        yield f"gets {shortened(names)}"
    if names := sorted(old.secrets.keys() - new.secrets.keys()):
        yield f"no longer gets {shortened(names)}"


def _acceptance(old: Release, new: Release) -> Iterator[str]:
    for name in Acceptance.model_fields:
        if getattr(old.acceptance, name) != getattr(new.acceptance, name):
            yield f"service.{name} changed"


def shortened(names: list[str]) -> str:
    """Return the first of `names`, and how many there are more."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
