"""Making images: ours from the project's Dockerfile, yours from your own, or one that is there already."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import docker.errors

from tailrace.deploy import base_image, build, dockerd, wheelhouse
from tailrace.deploy.release import Release, digest
from tailrace.errors import BuildFailed
from tailrace.profile import Service

CONTENT = "io.tailrace.content"
"""Label that names what an image was built from: equal content is not built again."""

Tell = Callable[[str], None]


def release(client: Any, service: Service, source: Path, home: Path, tell: Tell | None = None) -> Release:
    """Return the release of `service` as an image; raises BuildFailed or PartMissing."""
    started = time.perf_counter()
    if service.ours:
        content = digest(build.content(source), (source / "Dockerfile").read_text(encoding="utf-8"))
        image, reused = _ours(client, "service", content, source, home, tell)
    elif service.dockerfile:
        image, reused = _yours(client, service.dockerfile, source, tell), False
    else:
        image, reused = _present(client, service.image), True
    facts = {
        "image": image.id, "tags": image.tags, "size_bytes": image.attrs["Size"], "reused": reused,
        "port": service.container_port, "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    return Release("image", image.id, service.command, service.environment, service.ours, facts)


def edge(client: Any, source: Path, home: Path) -> Any:
    """Return the image of the edge, built from the project's Dockerfile unless it is there."""
    content = digest((source / "requirements.lock").read_text(encoding="utf-8"), "edge")
    return _ours(client, "edge", content, source, home, None)[0]


def _ours(client: Any, stage: str, content: str, source: Path, home: Path, tell: Tell | None) -> tuple[Any, bool]:
    name = f"tailrace-{stage}:{content[:12]}"
    try:
        return client.images.get(name), True
    except docker.errors.ImageNotFound:
        pass
    base = base_image.ensure(client, home / "images")
    wheels = wheelhouse.make(source, home / "images" / "wheelhouse", _python(client, base))
    told = {"BASE_IMAGE": base, "VERSION": _version(wheels), "REVISION": _revision(source),
            "CREATED": datetime.now(UTC).isoformat(timespec="seconds")}  # fmt: skip
    context = _context(source, wheels)
    # Without a network: all that goes in is in the context.
    options = {"target": stage, "buildargs": told, "labels": {CONTENT: content}, "network_mode": "none"}
    _build(client, name, tell, fileobj=context, custom_context=True, **options)
    return client.images.get(name), False


def _yours(client: Any, dockerfile: str, source: Path, tell: Tell | None) -> Any:
    name = f"tailrace-built:{digest(str(source), dockerfile)[:12]}"
    path = source / dockerfile
    _build(client, name, tell, path=str(path.parent), dockerfile=path.name)
    return client.images.get(name)


def _present(client: Any, name: str) -> Any:
    with dockerd.translated(f"image {name}"):
        try:
            return client.images.get(name)
        except docker.errors.ImageNotFound:
            return client.images.pull(name)


def _build(client: Any, name: str, tell: Tell | None, **options: Any) -> None:
    """Build `name`, telling each line; raises BuildFailed with the last ones."""
    lines: list[str] = []
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


def _revision(source: Path) -> str:
    asked = ["git", "-C", str(source), "rev-parse", "HEAD"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
