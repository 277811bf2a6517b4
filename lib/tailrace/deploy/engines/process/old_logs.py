"""The logs of instances that were stopped: the last few are kept, so that a disk does not fill with them."""

from __future__ import annotations

from pathlib import Path

from tailrace.host import rotation

KEPT = 10


def prune(folder: Path, kept: int = KEPT) -> list[str]:
    """Remove the logs of stopped instances but those of the last `kept`, with their older parts; return the names."""
    stopped = [log.stem for log in folder.glob("*-*.log") if not log.with_suffix(".json").exists()]
    generations = sorted((int(number), name) for name in stopped if (number := name.rpartition("-")[2]).isdigit())
    old = [name for _, name in generations[: max(0, len(generations) - kept)]]
    for name in old:
        for part in rotation.files(str(folder / f"{name}.log")):
            Path(part).unlink(missing_ok=True)
    return old
