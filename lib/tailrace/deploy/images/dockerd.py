"""The Docker Engine: reaching it, and saying in our words what it says in its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import requests.exceptions

from tailrace.errors import BuildFailed, DeployError, PartMissing, StartFailed
from tailrace.host import waiting

UNREACHABLE = (docker.errors.DockerException, requests.exceptions.RequestException)


def connect(timeout_s: float = 30.0) -> Any:
    """Return a client of the engine that the environment names; raises PartMissing with what to type."""
    client = None
    try:
        client = docker.from_env(timeout=timeout_s)
        client.ping()
    except UNREACHABLE as error:
        if client:
            client.close()
        if "Permission denied" in str(error) or "PermissionError" in str(error):
            raise PartMissing(
                "Docker: permission denied on its socket; join the group docker (and log in again), or run as root"
            ) from None
        raise PartMissing("Docker: no engine answers; type: make engine (or start the Docker service)") from None
    return client


@contextlib.contextmanager
def translated(subject: str) -> Iterator[None]:
    """Raise what the engine complains about as an error of ours, about `subject`."""
    try:
        yield
    except docker.errors.BuildError as error:
        raise BuildFailed(f"{subject}: {error.msg}; its last lines:\n{_last(error.build_log)}") from None
    except docker.errors.ImageNotFound as error:
        raise PartMissing(f"{subject}: no such image: {_said(error)}; build it, pull it, or correct its name") from None
    except docker.errors.APIError as error:
        raise _named(subject, _said(error)) from None
    except requests.exceptions.RequestException as error:
        raise DeployError(
            f"{subject}: the Docker Engine stopped answering ({type(error).__name__}); see its log"
        ) from None


def find(client: Any, name: str, subject: str = "") -> Any:
    """Return the container of that name or id; None when there is none, or it is on its way out."""
    with translated(subject or name):
        try:
            container = client.containers.get(name)
        except docker.errors.NotFound:
            return None
    return None if container.status in ("removing", "dead") else container


def remove(container: Any, timeout_s: float = 20.0) -> None:
    """Remove `container`, running or not, and return once it is gone: its name and its ports are free then."""
    with translated(container.name):
        try:
            container.remove(force=True)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "already in progress" not in str(error):
                raise
        waiting.until(lambda: _gone(container), timeout_s, every_s=0.05)


def log(container: Any, lines: int) -> str:
    """Return the last lines of `container`; nothing when it, or the engine, is on its way out."""
    try:
        said: bytes = container.logs(tail=lines)
    except UNREACHABLE:
        return ""
    return said.decode("utf-8", "replace")


def _gone(container: Any) -> bool:
    try:
        container.reload()
    except docker.errors.NotFound:
        return True
    return False


def _named(subject: str, said: str) -> DeployError | PartMissing:
    """Return the error that fits the sentence of the engine."""
    known: tuple[tuple[str, type[DeployError], str], ...] = (
        ("port is already allocated", StartFailed, "the port is taken; see docker ps and ss -ltnp"),
        ("address already in use", StartFailed, "the port is taken; see docker ps and ss -ltnp"),
        ("is already in use by container", StartFailed, "another container has that name; use down, or remove it"),
        ("no space left on device", DeployError, "the disk is full; make room: docker system prune"),
    )
    for sentence, kind, advice in known:
        if sentence in said:
            return kind(f"{subject}: {advice}. Docker says: {said}")
    if "pull access denied" in said or "manifest unknown" in said or "No such image" in said:
        return PartMissing(f"{subject}: the image cannot be had; build it, or correct its name. Docker says: {said}")
    return DeployError(f"{subject}: Docker says: {said}")


def _said(error: docker.errors.APIError) -> str:
    return " ".join(str(error.explanation or error).split())


def _last(log: Any, lines: int = 15) -> str:
    text = "".join(str(entry.get("stream") or entry.get("error") or "") for entry in log)
    return "\n".join(text.strip().splitlines()[-lines:])
