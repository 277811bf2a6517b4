"""The folder for the records of a load: one that no other load writes to, now or before."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from tailrace.cli import terminal
from tailrace.errors import LoadError
from tailrace.host import files

CLAIM: Final = ".in-use"
"""A file in the folder of a load that runs. It is made with O_EXCL, so that of two loads only one has the folder."""


@contextlib.contextmanager
def claimed(out: Path | None) -> Iterator[Path]:
    """Yield a folder of this load alone: `out`, or a new one below `loads/`.

    Where something is in it, records of two loads would be counted as one: then it is `out-2`, and so on, and a line on
    stderr says so. A folder that is made here and stays empty is removed. Raises LoadError when none can be made.
    """
    wanted = Path("loads") / time.strftime("%Y%m%d-%H%M%S") if out is None else out
    try:
        folder, made = next(taken for n in count(1) if (taken := _taken(wanted, n)))
    except OSError as error:
        raise LoadError(f"--out {wanted}: cannot be used: {error.strerror}; name another folder") from None
    if out is not None and folder != out:
        terminal.say(f"--out {out} is not empty: this load is in {folder}", err=True)
    try:
        yield folder
    finally:
        (folder / CLAIM).unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # removes an empty one only


def _taken(wanted: Path, number: int) -> tuple[Path, bool] | None:
    """Return the folder, and whether it was made here; None when another load has it, or anything is in it."""
    folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
    made = not folder.exists()
    files.make_folder(folder)
    claim = folder / CLAIM
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        return None
    if [path for path in folder.iterdir() if path != claim]:
        claim.unlink()
        return None
    return folder, made
