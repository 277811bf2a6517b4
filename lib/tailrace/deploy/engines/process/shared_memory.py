"""The shared memory of Envoy's hot restart: its name is for all users of the machine, so that nobody may guess it.

Envoy names it after its base id, and leaves it behind. Who occupies the name before it is started keeps it from
starting, so each start draws another one. The file `base-id` in the folder of the sockets tells what to remove.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from tailrace.host import files

FOLDER = Path("/dev/shm")  # noqa: S108 (where Envoy puts it)
IDS = 200_000_000
"""Envoy keeps ten numbers for each of them, and writes those beyond 31 bits in another way."""
RECORD = "base-id"


def choose(sockets: Path) -> int:
    """Return a base id by whose name there is nothing yet, and note it in the folder `sockets`."""
    while path(base_id := secrets.randbelow(IDS)).exists():
        pass
    files.replace(sockets / RECORD, str(base_id))
    return base_id


def remove(sockets: Path) -> None:
    """Remove the shared memory that the last Envoy with these `sockets` has left, if it has left any."""
    try:
        left = path(int((sockets / RECORD).read_text(encoding="ascii")))
    except (OSError, ValueError):
        return
    left.unlink(missing_ok=True)
    (sockets / RECORD).unlink(missing_ok=True)


def path(base_id: int) -> Path:
    """Return where Envoy puts its shared memory."""
    return FOLDER / f"envoy_shared_memory_{base_id * 10}"
