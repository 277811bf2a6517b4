"""Salted digests of the secrets of a release: they tell that a secret was rotated, and nothing else of it.

The salt is in the folder of the deployment, for its owner only: without it, nobody can try values against a digest.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.deploy.release import Release
from tailrace.errors import DeployError
from tailrace.host import files

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

SALT_BYTES = 32


def names(deployment: Deployment, release: Release) -> Mapping[str, str]:
    """Return the secrets of an instance of `release`, the name there → the name here: its own, or the profile's."""
    return deployment.secrets if release.secret_names is None else release.secret_names


def sealed(deployment: Deployment, release: Release) -> Release:
    """Return `release` with the digests of the secrets that its instance would get now; none has another value."""
    handed_on = names(deployment, release)
    values = {name: os.environ[here] for name, here in handed_on.items() if here in os.environ}
    salt = _salt(deployment.folder / "secret-salt") if values else b""
    digests = {name: _digest(salt, name, value) for name, value in sorted(values.items())}
    return replace(release, secrets=digests, secret_names=dict(handed_on))


def _digest(salt: bytes, name: str, value: str) -> str:
    """Return HMAC-SHA256 over name and value: two secrets of the same value have different digests."""
    return hmac.digest(salt, os.fsencode(f"{name}\0{value}"), "sha256").hex()


def _salt(path: Path) -> bytes:
    """Return the salt of `path`, made at its first use; raises DeployError when it is damaged."""
    if not path.exists():
        _create(path)
    salt = path.read_bytes()
    if len(salt) != SALT_BYTES:
        raise DeployError(
            f"{path} has {len(salt)} bytes; expected {SALT_BYTES}. Delete it: the next deploy makes another one, and "
            "takes every secret for rotated"
        )
    return salt


def _create(path: Path) -> None:
    """Write a new salt beside `path` and link it there: of two processes at once, the first wins."""
    files.make_folder(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
    finally:
        beside.unlink(missing_ok=True)
