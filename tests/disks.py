"""Small disks that a test mounts and fills, each for itself; tests that use one have the marker `tmpfs`."""

import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

FILLER = "filler"


def mount(folder: Path, size: str) -> Path:
    """Mount an empty disk of `size`, as "2m", at `folder`, which is made; raise CalledProcessError when not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "small-disk", folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Take all the room that is left on `disk`, and return the file that has it."""
    with contextlib.suppress(OSError), (disk / FILLER).open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return disk / FILLER


def lacks_tmpfs() -> str:
    """Say why no small disk can be mounted here; "" when one can."""
    if os.geteuid() != 0:
        return "tmpfs: only root can mount a small disk"
    with tempfile.TemporaryDirectory() as folder:
        try:
            unmount(mount(Path(folder) / "disk", "1m"))
        except (OSError, subprocess.CalledProcessError):
            return "tmpfs: this machine does not let root mount a small disk"
    return ""
