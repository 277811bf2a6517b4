"""Images that the engine has, and those that a registry offers; registries get a short time-out."""

from __future__ import annotations

from typing import Any

import docker.errors

from tailrace.deploy.images import dockerd

TIMEOUT_S = 8.0
"""Time-out for a registry's answer whether it has an image."""


def has(client: Any, name: str) -> bool:
    """Return whether the engine itself has the image `name`."""
    with dockerd.translated(f"image {name}"):
        try:
            client.images.get(name)
        except docker.errors.ImageNotFound:
            return False
    return True


def offers(name: str) -> bool:
    """Return whether a registry answers within TIMEOUT_S that it has the image."""
    client = dockerd.connect(TIMEOUT_S)
    try:
        client.api.inspect_distribution(name)
    except dockerd.UNREACHABLE:
        return False
    finally:
        client.close()
    return True


def pull(client: Any, name: str) -> bool:
    """Pull the image if a registry offers it within TIMEOUT_S; return whether it did."""
    if not offers(name):
        return False
    with dockerd.translated(f"image {name}"):
        client.images.pull(name)
    return True
