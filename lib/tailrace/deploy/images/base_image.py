"""The base of every image: the one that is named, the official one, or, without a registry, Debian's own packages.

In this order, so that a run whose base is already here needs no network: `BASE_IMAGE`; the official image, when the
engine has it; the one made here earlier; the official one from its registry; a new one, made by mmdebstrap.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tailrace.deploy import build_failure
from tailrace.deploy.images import dockerd, registry
from tailrace.errors import PartMissing
from tailrace.host import files

VARIABLE = "BASE_IMAGE"
OFFICIAL = "python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b"
"""The default of the Dockerfiles: an index of several architectures, by its digest."""
NAME = "tailrace-base:bookworm"
ARCHIVE = "base-bookworm.tar"
PACKAGES = "python3,python3-venv,ca-certificates"
UNWANTED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


def ensure(
    client: Any, cache: Path, on_progress: Callable[[str], None] | None = None, *, again: bool = False
) -> str:  # fmt: skip
    """Return the name of a base image that the engine has; raises PartMissing, BuildFailed.

    `again` makes one by mmdebstrap whatever there is. Its archive is kept in `cache`, so that another engine, or an
    emptied one, does not need the packages again.
    """
    archive = cache / ARCHIVE
    if not again:
        if found := _named(client) or present(client):
            return found
        if not archive.is_file() and registry.pull(client, OFFICIAL):
            return OFFICIAL
    if again or not archive.is_file():
        if on_progress:
            on_progress(f"{NAME}: mmdebstrap makes it from Debian's packages; this takes a minute")
        _make(archive)
    with archive.open("rb") as file, dockerd.translated(f"base image {NAME}"):
        client.api.import_image_from_data(file, *NAME.split(":"))
    return NAME


def can_be_had(client: Any, cache: Path) -> str:
    """Return where a base would come from, without fetching it; raises PartMissing with what to type."""
    if (name := os.environ.get(VARIABLE, "")) and (registry.has(client, name) or registry.offers(name)):
        return f"{VARIABLE} names {name}"
    if name:
        raise _unknown(name)
    if found := present(client):
        return f"{found} is in the engine"
    if (cache / ARCHIVE).is_file():
        return f"{ARCHIVE} is in {cache.name}/"
    if shutil.which("mmdebstrap"):
        return "mmdebstrap makes one"
    if registry.offers(OFFICIAL):
        return f"a registry has {OFFICIAL}"
    raise PartMissing(
        f"base image: {OFFICIAL} is not in the engine, no registry offers it within {registry.TIMEOUT_S:g} s, and "
        f"there is no mmdebstrap here; type: apt-get install mmdebstrap, or name one: export {VARIABLE}=…"
    )


def present(client: Any) -> str:
    """Return the official image, or the one made here, when the engine has it; else ""."""
    return next((name for name in (OFFICIAL, NAME) if registry.has(client, name)), "")


def _named(client: Any) -> str:
    """Return the image that the user names, pulled if need be; "" when none is named."""
    name = os.environ.get(VARIABLE, "")
    if name and not registry.has(client, name) and not registry.pull(client, name):
        raise _unknown(name)
    return name


def _unknown(name: str) -> PartMissing:
    return PartMissing(
        f"base image: {VARIABLE} names {name!r}, which is not in the engine, and no registry offers it within "
        f"{registry.TIMEOUT_S:g} s; pull or build it, correct the name, or unset {VARIABLE}"
    )


def _make(archive: Path) -> None:
    tool = shutil.which("mmdebstrap")
    if tool is None:
        raise PartMissing(f"base image: no mmdebstrap here; type: apt-get install mmdebstrap, or export {VARIABLE}=…")
    files.make_folder(archive.parent)
    beside = archive.with_suffix(".new.tar")
    excluded = [f"--dpkgopt=path-exclude={path}" for path in UNWANTED]
    command = [tool, "--variant=minbase", f"--include={PACKAGES}", *excluded, "bookworm", str(beside)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        beside.unlink(missing_ok=True)
        raise build_failure.error(f"base image: mmdebstrap exited with {done.returncode}", done.stderr)
    beside.replace(archive)
