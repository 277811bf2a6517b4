"""Images that are here already, and those that a registry has: asked for briefly, and only when one is not here."""

from __future__ import annotations

from typing import Any

import docker.errors

from tailrace.deploy.images import dockerd

TIMEOUT_S = 8.0
"""How long a registry may take to say that it has an image."""


def has(client: Any, name: str) -> bool:
    """Return whether the engine has the image `name`; no registry is asked."""
    with dockerd.translated(f"image {name}"):
        try:
            client.images.get(name)
        except docker.errors.ImageNotFound:
            return False
    return True


def offers(name: str) -> bool:
    """Return whether a registry says within TIMEOUT_S that it has the image."""
    asking = dockerd.connect(TIMEOUT_S)
    try:
        asking.api.inspect_distribution(name)
    except dockerd.UNREACHABLE:
        return False
    finally:
        asking.close()
    return True


def pull(client: Any, name: str) -> bool:
    """Return whether the image came; a registry that does not answer in time is not waited for."""
    if not offers(name):
        return False
    with dockerd.translated(f"image {name}"):
        client.images.pull(name)
    return True
