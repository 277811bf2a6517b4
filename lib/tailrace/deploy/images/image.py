"""Build images: ours from the project's Dockerfile, yours from your own; or take one that is there already."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker.errors

from tailrace.deploy import build
from tailrace.deploy.images import base_image, dockerd, registry, wheelhouse
from tailrace.deploy.images.confinement import PROOF
from tailrace.deploy.release import Release, digest
from tailrace.errors import BuildFailed, PartMissing
from tailrace.host import excerpts
from tailrace.profile import Service

CONTENT = "io.tailrace.content"
"""Label with the digest of what an image was built from: equal content is not built again."""
BASE = "io.tailrace.base"
"""Label with the base image, whose layers the image inherits."""
SECRETS = "io.tailrace.secrets"
"""Label by which an image says that it reads its secrets from files, `NAME_FILE`; without it they are variables."""
BY_FILE = "secret_files"
"""The fact about a release that its image has this label."""

OnProgress = Callable[[str], None]
"""Gets each line of a build's log."""


@dataclass(frozen=True)
class Kind:
    """An image of ours: the stage of the Dockerfile that makes it, and the programs in its wheel of tailrace."""

    name: str
    stage: str
    programs: tuple[str, ...] = ()


SERVICE = Kind("service", "service", (build.SERVICE,))
SIMULATOR = Kind("simulator", "service", (build.SERVICE, build.SIMULATOR))
EDGE = Kind("edge", "edge")


def release(client: Any, service: Service, source: Path, home: Path, on_progress: OnProgress | None = None) -> Release:
    """Return the release of `service` as an image; raises BuildFailed or PartMissing."""
    started = time.perf_counter()
    if service.ours:
        image, reused = _ours(client, SERVICE, source, home, on_progress)
    elif service.dockerfile:
        image, reused = _yours(client, service.dockerfile, source, home, on_progress), False
    else:
        image, reused = _present(client, service.image), True
    facts = _facts(image) | {
        "reused": reused, "port": service.container_port, "dockerfile": service.dockerfile,
        "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    return Release(
        "image", image.id, service.command, service.environment, service.ours, service.acceptance, facts,
        port=service.container_port,
    )  # fmt: skip


def simulator(client: Any, source: Path, home: Path, on_progress: OnProgress | None = None) -> Release:
    """Return the image of the simulated provider: our service's, with the simulator installed in addition."""
    image, reused = _ours(client, SIMULATOR, source, home, on_progress)
    facts = _facts(image) | {"reused": reused, "port": Service().container_port}
    return Release("image", image.id, (), ours=True, facts=facts)


def edge(client: Any, source: Path, home: Path, on_progress: OnProgress | None = None) -> Any:
    """Return the image of the edge, built from the project's Dockerfile unless it is there."""
    return _ours(client, EDGE, source, home, on_progress)[0]


def again(client: Any, source: Path, home: Path, on_progress: OnProgress | None = None) -> str:
    """Build what our image holds once more, from nothing: no layer of an earlier build is used; return its id."""
    name = f"tailrace-again:{os.getpid()}"
    base = base_image.ensure(client, home / "images", on_progress)
    _build_ours(client, name, replace(SERVICE, stage="build"), base, source, home, on_progress, nocache=True)
    return str(client.images.get(name).id)


def _ours(client: Any, kind: Kind, source: Path, home: Path, on_progress: OnProgress | None) -> tuple[Any, bool]:
    """Return the image of this kind and whether it was there already."""
    content = digest(_content(kind, source), _dockerfile(source), kind.name)
    name = f"tailrace-{kind.name}:{content[:12]}"
    try:
        return client.images.get(name), True
    except docker.errors.ImageNotFound:
        pass
    base = base_image.ensure(client, home / "images", on_progress)
    marks = {CONTENT: content, BASE: base} | ({SECRETS: "files"} if kind.programs else {})
    _build_ours(client, name, kind, base, source, home, on_progress, labels=marks)
    return client.images.get(name), False


def _content(kind: Kind, source: Path) -> str:
    """Return the digest of what an image of this kind holds beside its base."""
    if kind.programs:
        return build.content(source, *kind.programs)
    return wheelhouse.pinned(source / "requirements.lock", wheelhouse.EDGE)


def _build_ours(
    client: Any, name: str, kind: Kind, base: str, source: Path, home: Path, on_progress: OnProgress | None,
    **options: Any,
) -> None:  # fmt: skip
    """Build a stage of the project's Dockerfile, without a network: the context holds all that goes in."""
    wheels = wheelhouse.make(source, home / "images" / "wheelhouse", _python(client, base))
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build.wheel(source, Path(scratch), *kind.programs)
        context = _context(source, wheels, wheel)
    arguments = {"BASE_IMAGE": base, "VERSION": wheel.name.split("-")[1], "REVISION": _revision(source),
                 "CREATED": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    options |= {"target": kind.stage, "buildargs": arguments, "network_mode": "none", "custom_context": True}
    _build(client, name, on_progress, fileobj=context, **options)


def _yours(client: Any, dockerfile: str, source: Path, home: Path, on_progress: OnProgress | None) -> Any:
    """Build a Dockerfile of the user's in its own folder, with a value for each known ARG that it declares.

    No value depends on the time: the builder's cache gives the same image for the same folder.
    """
    name = f"tailrace-built:{digest(str(source), dockerfile)[:12]}"
    path = source / dockerfile
    if not path.is_file():
        raise BuildFailed(f"service.dockerfile: {path} does not exist; correct it in the profile")
    declared = re.findall(r"(?mi)^ARG\s+(\w+)", path.read_text(encoding="utf-8"))
    revision, committed = _revision(source), _revision(source, "%cI")
    base = base_image.ensure(client, home / "images", on_progress) if "BASE_IMAGE" in declared else ""
    arguments = {"BASE_IMAGE": base, "REVISION": revision, "VERSION": revision[:12], "CREATED": committed}
    options: dict[str, Any] = {"labels": {BASE: base}} if base else {}
    options["buildargs"] = {name: value for name, value in arguments.items() if name in declared}
    _build(client, name, on_progress, path=str(path.parent), dockerfile=path.name, **options)
    return client.images.get(name)


def _present(client: Any, name: str) -> Any:
    if not registry.has(client, name) and not registry.pull(client, name):
        raise PartMissing(
            f"service.image: {name} is not in the engine, and no registry offers it within {registry.TIMEOUT_S:g} s; "
            "build it, pull it, or correct its name"
        )
    return client.images.get(name)


def _build(client: Any, name: str, on_progress: OnProgress | None, **options: Any) -> None:
    """Build `name` and report each line of the log; raises BuildFailed with the last lines."""
    lines: list[str] = []
    if on_progress:
        on_progress(f"building {name}")
    with dockerd.translated(f"image {name}"):
        for entry in client.api.build(tag=name, rm=True, forcerm=True, decode=True, **options):
            text = str(entry.get("stream") or entry.get("error") or "")
            lines = [*lines, *(line for line in text.splitlines() if line.strip())][-15:]
            if on_progress and text.strip():
                on_progress(excerpts.of_text(text.strip(), 15))
            if "error" in entry:
                last = excerpts.of_text("\n".join(lines[-15:]), 15)
                raise BuildFailed(
                    f"image {name}: {excerpts.of_text(entry['error'], 3)}; the last lines of its build:\n{last}"
                )


def _context(source: Path, wheels: Path, wheel: Path) -> io.BytesIO:
    """Return the context of a build; equal files give equal bytes, whenever and by whomever they are packed."""
    packed = io.BytesIO()
    files = {"Dockerfile": source / "Dockerfile", build.LOCK: source / build.LOCK}
    files |= {f"wheelhouse/{path.name}": path for path in sorted(wheels.glob("*.whl"))}
    files |= {f"wheelhouse/{wheelhouse.OURS}/{wheel.name}": wheel}
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in files.items():
            content = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    packed.seek(0)
    return packed


def _facts(image: Any) -> dict[str, Any]:
    base = image.labels.get(BASE, "")
    files = image.labels.get(SECRETS, "") == "files"
    return {"image": image.id, "tags": image.tags, "size_bytes": image.attrs["Size"], "base": base, BY_FILE: files}


def _python(client: Any, base: str) -> str:
    """Return the version of Python in a base image, as "3.11"."""
    command = ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    with dockerd.translated(f"base image {base}"):
        output: bytes = client.containers.run(base, command, remove=True, network_mode="none", **PROOF)
    return output.decode().strip()


def _dockerfile(source: Path) -> list[str]:
    """Return what decides how an image of ours is built, beside its content."""
    return [(source / "Dockerfile").read_text(encoding="utf-8"), os.environ.get(base_image.VARIABLE, "")]


def _revision(source: Path, form: str = "%H") -> str:
    """Return the commit of the source, or another fact about it, as `git log` formats it; "unknown" without git."""
    command = ["git", "-C", str(source), "log", "-1", f"--format={form}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
