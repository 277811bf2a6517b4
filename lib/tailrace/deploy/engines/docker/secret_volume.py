"""The secrets of a container as files in a volume of its own, which nobody else has, and which is removed with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tailrace import secret_files
from tailrace.deploy.engines import Slot, environment, secrets
from tailrace.deploy.images import image
from tailrace.deploy.release import Release


def kept(release: Release, slot: Slot) -> Mapping[str, str]:
    """Return the secrets that the container reads from files, with their values: none, unless its image says so."""
    return secrets(slot) if release.facts.get(image.BY_FILE) else {}


def options(release: Release, slot: Slot) -> dict[str, Any]:
    """Return the environment and the volumes of the container; a secret in a file is in no variable."""
    files = kept(release, slot)
    plain = {name: value for name, value in environment(release, slot).items() if name not in files}
    volumes = [secret_files.FOLDER] if files else []
    return {"environment": plain | secret_files.variables(files), "volumes": volumes}


def fill(client: Any, container: Any, release: Release, slot: Slot) -> None:
    """Put the files into the volume of a container that has not been started; they outlive its restarts."""
    if files := kept(release, slot):
        user = client.images.get(release.build).attrs["Config"].get("User") or ""
        container.put_archive(secret_files.FOLDER, secret_files.archive(files, user))
