"""A base image without a registry: Debian's own packages, by mmdebstrap, imported into the engine and kept there."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

from tailrace.errors import BuildFailed, PartMissing

NAME = "tailrace-base:bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
UNWANTED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


def ensure(client: Any, cache: Path, again: bool = False) -> str:
    """Return the name of a base image that is in the engine, made if need be; raises PartMissing, BuildFailed.

    The archive is kept in `cache`, so that another engine, or an emptied one, does not need the packages again.
    """
    import docker.errors

    if not again:
        try:
            client.images.get(NAME)
            return NAME
        except docker.errors.ImageNotFound:
            pass
    archive = cache / "base-bookworm.tar"
    if again or not archive.is_file():
        _make(archive)
    with archive.open("rb") as file:
        client.api.import_image_from_data(file, *NAME.split(":"))
    return NAME


def _make(archive: Path) -> None:
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise PartMissing("base image: no mmdebstrap here; type: apt-get install mmdebstrap, or name a base image")
    archive.parent.mkdir(parents=True, exist_ok=True)
    beside = archive.with_suffix(".new.tar")
    excluded = [f"--dpkgopt=path-exclude={path}" for path in UNWANTED]
    command = [tool, "--variant=minbase", f"--include={PACKAGES}", *excluded, "bookworm", str(beside)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        beside.unlink(missing_ok=True)
        last = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise BuildFailed(f"base image: mmdebstrap left with {done.returncode}; its last lines:\n{last}")
    beside.replace(archive)
