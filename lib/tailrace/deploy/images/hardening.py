"""Checks of an image before it is shipped: user, secrets, labels, size, read-only start, health check."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tailrace import credentials
from tailrace.deploy.images import dockerd, layers
from tailrace.deploy.images.confinement import PROOF
from tailrace.host import waiting
from tailrace.verdict import Check

ROOT = ("", "root", "0")
LABELS = ("revision", "version", "created")


@dataclass(frozen=True)
class Image:
    """The image to check; layers that it inherits from the image `base` are not checked."""

    client: Any
    id: str
    base: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings that the program needs to start."""
    command: Sequence[str] = ()
    """The command to run; empty: the image's own."""
    budget_mb: float = 100
    """Limit for its size above its base."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """Options of Docker with the limits of an instance, in place of those of `PROOF`."""

    @property
    def attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = self.client.images.get(self.id).attrs
        return attributes


def checks(image: Image) -> list[Check]:
    """Return all checks of `image`; those that run it take a few seconds."""
    with dockerd.translated(f"image {image.id[:19]}"):
        return [non_root(image), hidden(image), clean_layers(image), labelled(image), lean(image),
                read_only(image), health_check(image)]  # fmt: skip


def non_root(image: Image) -> Check:
    """Its user is a number other than root's: a name could map to any user in another image."""
    user = image.attributes["Config"].get("User") or ""
    ok = user.partition(":")[0] not in ROOT and user.partition(":")[0].isdigit()
    return Check("runs as a numeric user other than root", ok, f"user {user or 'root'}")


def hidden(image: Image) -> Check:
    """Its metadata, which anybody can read, holds no credential: environment, labels, commands, history."""
    config = image.attributes["Config"]
    names = [entry.partition("=")[0] for entry in config.get("Env") or []]
    suspicious = [name for name in names if credentials.SECRET_NAME.search(name)]
    history = [layer.get("CreatedBy", "") for layer in image.client.images.get(image.id).history()]
    found = [finding.kind for finding in credentials.find(json.dumps([config, history]))]
    fact = ", ".join([*(f"variable {name}" for name in suspicious), *found]) or f"{len(names)} variables, none secret"
    return Check("no secret in its environment, labels or history", not (suspicious or found), fact)


def clean_layers(image: Image) -> Check:
    """No file of its own layers holds a credential, including files that a later layer removes.

    Files that are unchanged since their package was published are left out: they hold examples, and no secret of ours.
    """
    inherited = layers.digests(image.client, image.base) if image.base else []
    scanned, found = 0, []
    for name, content in layers.own_files(image.client, image.id, skip=len(inherited)):
        scanned += 1
        kinds = {finding.kind for finding in credentials.find(content.decode("latin-1"))}
        found += [f"{kind} in {name}" for kind in sorted(kinds)]
    fact = (
        "; ".join(found[:3])
        or f"{scanned} files of {len(layers.digests(image.client, image.id)) - len(inherited)} layers scanned"
    )
    return Check("no secret in any layer", not found, fact)


def labelled(image: Image) -> Check:
    """Its labels say what it was built from, and when."""
    labels = image.attributes["Config"].get("Labels") or {}
    missing = [name for name in LABELS if labels.get(f"org.opencontainers.image.{name}") in (None, "", "unknown")]
    fact = (
        f"missing: {', '.join(missing)}" if missing else f"revision {labels['org.opencontainers.image.revision'][:12]}"
    )
    return Check("labelled with revision, version and creation time", not missing, fact)


def lean(image: Image) -> Check:
    """Its size above its base is within the budget."""
    below = image.client.images.get(image.base).attrs["Size"] if image.base else 0
    own_mb = (image.attributes["Size"] - below) / 1e6
    return Check(
        "size within budget", own_mb <= image.budget_mb, f"{own_mb:.0f} MB above its base; {image.budget_mb:g} MB"
    )


def read_only(image: Image) -> Check:
    """It starts and keeps running with a read-only root file system, and without capabilities or privileges."""
    container = _run(image)
    try:
        waiting.until(lambda: _state(container)["Status"] != "running", 2.0, every_s=0.1)
        state = _state(container)
        running = state["Status"] == "running"
        last = container.logs(tail=1).decode("utf-8", "replace").strip()
        fact = "runs" if running else f"exited with {state['ExitCode']}: {last[:160]}"
    finally:
        container.remove(force=True)
    return Check("starts read-only, without capabilities or new privileges", running, fact)


def health_check(image: Image, timeout_s: float = 20.0) -> Check:
    """It has a health check that turns healthy, and turns unhealthy when the program hangs."""
    name = "health check turns red when the program hangs"
    test = (image.attributes["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
    if test[0] == "NONE":
        return Check(name, False, "no health check")
    container = _run(image)
    try:
        if not waiting.until(lambda: _health(container) == "healthy", timeout_s, every_s=0.1):
            return Check(name, False, f"never healthy within {timeout_s:g} s: {_health(container)}")
        container.kill(signal="SIGSTOP")
        red = waiting.until(lambda: _health(container) == "unhealthy", timeout_s, every_s=0.1)
        return Check(
            name, red, "healthy, then unhealthy" if red else f"still {_health(container)} after {timeout_s:g} s"
        )
    finally:
        container.remove(force=True)


def content_digest(client: Any, id: str, path: str = "/opt/tailrace") -> str:
    """Return a digest over names, modes and contents of all files below `path`, without times and bytecode."""
    container = client.containers.create(id, ["true"])  # never started; a base may have no command
    try:
        stream, _ = container.get_archive(path)
        files = []
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if not member.name.endswith(".pyc"):
                    content = hashlib.sha256(file.read()).hexdigest() if file else member.linkname
                    files.append((member.name, member.mode, content))
    finally:
        container.remove(force=True)
    return hashlib.sha256(json.dumps(sorted(files)).encode()).hexdigest()


def _run(image: Image) -> Any:
    return image.client.containers.run(
        image.id,
        list(image.command) or None,
        detach=True,
        environment=dict(image.environment),
        network_mode="none",
        **{**PROOF, **image.limits},
    )


def _state(container: Any) -> dict[str, Any]:
    container.reload()
    state: dict[str, Any] = container.attrs["State"]
    return state


def _health(container: Any) -> str:
    return str((_state(container).get("Health") or {}).get("Status", "none"))
