"""The Docker Engine: connections to it, and its errors translated into ours."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import requests.exceptions

from tailrace.errors import BuildFailed, DeployError, PartMissing, StartFailed
from tailrace.host import excerpts, waiting

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
    """Raise the engine's errors as errors of ours that name `subject`."""
    try:
        yield
    except docker.errors.BuildError as error:
        raise BuildFailed(f"{subject}: {error.msg}; its last lines:\n{_last(error.build_log)}") from None
    except docker.errors.ImageNotFound as error:
        raise PartMissing(
            f"{subject}: no such image: {_message(error)}; build it, pull it, or correct its name"
        ) from None
    except docker.errors.APIError as error:
        raise _error_for(subject, _message(error)) from None
    except requests.exceptions.RequestException as error:
        raise DeployError(
            f"{subject}: the Docker Engine stopped answering ({type(error).__name__}); see its log"
        ) from None


def find(client: Any, name: str, subject: str = "") -> Any:
    """Return the container of that name or id; None if there is none, or it is being removed."""
    with translated(subject or name):
        try:
            container = client.containers.get(name)
        except docker.errors.NotFound:
            return None
    return None if container.status in ("removing", "dead") else container


def remove(container: Any, timeout_s: float = 20.0) -> None:
    """Remove `container`, running or not, and return once its name and its ports are free."""
    with translated(container.name):
        try:
            container.remove(force=True, v=True)  # with the volume of its secrets
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "already in progress" not in str(error):
                raise
        waiting.until(lambda: _gone(container), timeout_s, every_s=0.05)


def log(container: Any, lines: int) -> str:
    """Return the command that shows `container`'s log, and its last lines, as an excerpt that is bounded.

    "" if the container or the engine is shutting down.
    """
    try:
        tail: bytes = container.logs(tail=lines)
    except UNREACHABLE:
        return ""
    return excerpts.with_source(
        f"docker logs {container.name}", excerpts.of_text(tail.decode("utf-8", "replace"), lines)
    )


def _gone(container: Any) -> bool:
    try:
        container.reload()
    except docker.errors.NotFound:
        return True
    return False


def _error_for(subject: str, message: str) -> DeployError | PartMissing:
    """Return our error for a message of the engine."""
    known: tuple[tuple[str, type[DeployError], str], ...] = (
        ("port is already allocated", StartFailed, "the port is taken; see docker ps and ss -ltnp"),
        ("address already in use", StartFailed, "the port is taken; see docker ps and ss -ltnp"),
        ("is already in use by container", StartFailed, "another container has that name; use down, or remove it"),
        ("no space left on device", DeployError, "the disk is full; make room: docker system prune"),
    )
    for part, kind, advice in known:
        if part in message:
            return kind(f"{subject}: {advice}. Docker says: {message}")
    if "pull access denied" in message or "manifest unknown" in message or "No such image" in message:
        return PartMissing(f"{subject}: the image cannot be had; build it, or correct its name. Docker says: {message}")
    return DeployError(f"{subject}: Docker says: {message}")


def _message(error: docker.errors.APIError) -> str:
    return " ".join(str(error.explanation or error).split())


def _last(log: Any, lines: int = 15) -> str:
    text = "".join(str(entry.get("stream") or entry.get("error") or "") for entry in log)
    return excerpts.of_text(text.strip(), lines)
