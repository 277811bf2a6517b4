"""Making images: ours from the project's Dockerfile, yours from your own, or one that is there already."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker.errors

from tailrace.deploy import build
from tailrace.deploy.images import base_image, dockerd, registry, wheelhouse
from tailrace.deploy.release import Release, digest
from tailrace.errors import BuildFailed, PartMissing
from tailrace.profile import Service

CONTENT = "io.tailrace.content"
"""Label that names what an image was built from: equal content is not built again."""
BASE = "io.tailrace.base"
"""Label that names the image below it: the layers of that one are not its doing."""

Tell = Callable[[str], None]


def release(client: Any, service: Service, source: Path, home: Path, tell: Tell | None = None) -> Release:
    """Return the release of `service` as an image; raises BuildFailed or PartMissing."""
    started = time.perf_counter()
    if service.ours:
        content = digest(build.content(source), _dockerfile(source))
        image, reused = _ours(client, "service", content, source, home, tell)
    elif service.dockerfile:
        image, reused = _yours(client, service.dockerfile, source, home, tell), False
    else:
        image, reused = _present(client, service.image), True
    facts = {
        "image": image.id, "tags": image.tags, "size_bytes": image.attrs["Size"], "reused": reused,
        "base": image.labels.get(BASE, ""), "port": service.container_port, "dockerfile": service.dockerfile,
        "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    return Release("image", image.id, service.command, service.environment, service.ours, facts)


def edge(client: Any, source: Path, home: Path, tell: Tell | None = None) -> Any:
    """Return the image of the edge, built from the project's Dockerfile unless it is there."""
    content = digest((source / "requirements.lock").read_text(encoding="utf-8"), _dockerfile(source), "edge")
    return _ours(client, "edge", content, source, home, tell)[0]


def again(client: Any, source: Path, home: Path, tell: Tell | None = None) -> str:
    """Build what our image holds once more, from nothing: no layer of an earlier build is used; return its id."""
    name = f"tailrace-again:{os.getpid()}"
    base = base_image.ensure(client, home / "images", tell=tell)
    _packed(client, name, "build", base, source, home, tell, nocache=True)
    return str(client.images.get(name).id)


def _ours(client: Any, stage: str, content: str, source: Path, home: Path, tell: Tell | None) -> tuple[Any, bool]:
    name = f"tailrace-{stage}:{content[:12]}"
    try:
        return client.images.get(name), True
    except docker.errors.ImageNotFound:
        pass
    base = base_image.ensure(client, home / "images", tell=tell)
    _packed(client, name, stage, base, source, home, tell, labels={CONTENT: content, BASE: base})
    return client.images.get(name), False


def _packed(
    client: Any, name: str, stage: str, base: str, source: Path, home: Path, tell: Tell | None, **options: Any
) -> None:
    """Build a stage of the project's Dockerfile. Without a network: all that goes in is in the context."""
    wheels = wheelhouse.make(source, home / "images" / "wheelhouse", _python(client, base))
    told = {"BASE_IMAGE": base, "VERSION": _version(wheels), "REVISION": _revision(source),
            "CREATED": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    options |= {"target": stage, "buildargs": told, "network_mode": "none", "custom_context": True}
    _build(client, name, tell, fileobj=_context(source, wheels), **options)


def _yours(client: Any, dockerfile: str, source: Path, home: Path, tell: Tell | None) -> Any:
    """Build a Dockerfile that is not ours, in its own folder; it is told what it has an ARG for, and nothing else.

    Nothing that it is told depends on the hour: the builder's cache gives the same image for the same folder.
    """
    name = f"tailrace-built:{digest(str(source), dockerfile)[:12]}"
    path = source / dockerfile
    if not path.is_file():
        raise BuildFailed(f"service.dockerfile: {path} does not exist; correct it in the profile")
    asked = re.findall(r"(?mi)^ARG\s+(\w+)", path.read_text(encoding="utf-8"))
    revision, committed = _revision(source), _revision(source, "%cI")
    told = {"REVISION": revision, "VERSION": revision[:12], "CREATED": committed}
    base = base_image.ensure(client, home / "images", tell=tell) if "BASE_IMAGE" in asked else ""
    options: dict[str, Any] = {"labels": {BASE: base}} if base else {}
    options["buildargs"] = {arg: value for arg, value in (told | {"BASE_IMAGE": base}).items() if arg in asked}
    _build(client, name, tell, path=str(path.parent), dockerfile=path.name, **options)
    return client.images.get(name)


def _present(client: Any, name: str) -> Any:
    if not registry.has(client, name) and not registry.pull(client, name):
        raise PartMissing(
            f"service.image: {name} is not in the engine, and no registry offers it within {registry.TIMEOUT_S:g} s; "
            "build it, pull it, or correct its name"
        )
    return client.images.get(name)


def _build(client: Any, name: str, tell: Tell | None, **options: Any) -> None:
    """Build `name`, telling each line; raises BuildFailed with the last ones."""
    lines: list[str] = []
    if tell:
        tell(f"building {name}")
    with dockerd.translated(f"image {name}"):
        for entry in client.api.build(tag=name, rm=True, forcerm=True, decode=True, **options):
            said = str(entry.get("stream") or entry.get("error") or "")
            lines += [line for line in said.splitlines() if line.strip()]
            if tell and said.strip():
                tell(said.strip())
            if "error" in entry:
                last = "\n".join(lines[-15:])
                raise BuildFailed(f"image {name}: {entry['error'].strip()}; the last lines of its build:\n{last}")


def _context(source: Path, wheels: Path) -> io.BytesIO:
    """Return what the build gets, with nothing in it that depends on when and by whom it was packed."""
    packed = io.BytesIO()
    named = {"Dockerfile": source / "Dockerfile", build.LOCK: source / build.LOCK}
    named |= {f"wheelhouse/{path.name}": path for path in sorted(wheels.glob("*.whl"))}
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in named.items():
            content = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    packed.seek(0)
    return packed


def _python(client: Any, base: str) -> str:
    asked = ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    with dockerd.translated(f"base image {base}"):
        said: bytes = client.containers.run(base, asked, remove=True, network_mode="none")
    return said.decode().strip()


def _version(wheels: Path) -> str:
    return next(wheels.glob("tailrace-*.whl")).name.split("-")[1]


def _dockerfile(source: Path) -> list[str]:
    """Return what an image of ours is made by, beside its content."""
    return [(source / "Dockerfile").read_text(encoding="utf-8"), os.environ.get(base_image.VARIABLE, "")]


def _revision(source: Path, what: str = "%H") -> str:
    """Return the commit of the source, or another fact about it, as `git log` formats it; "unknown" without git."""
    asked = ["git", "-C", str(source), "log", "-1", f"--format={what}"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
