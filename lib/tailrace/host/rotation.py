"""Keep a log bounded while a program goes on writing into it, without losing a byte and without its help.

The writer has the file itself open for appending, not a pipe: what it writes costs no copy, and it survives whoever
rotates. The older part is copied to `<log>.1`, `<log>.2` …, and then cut off the beginning of the file in one act of
the kernel (`FALLOC_FL_COLLAPSE_RANGE` of ext4 and XFS): what is appended meanwhile stays. Where the file system cannot
do that, the file is truncated, and what is written between the copy and that is lost.
"""

from __future__ import annotations

import errno
import os

MAX_BYTES = 10 << 20
"""As of the containers' logs. A file is rotated once it is larger."""
OLDER = 2
"""How many rotated files are kept beside the file."""
LOOK_EVERY_S = 1.0
BLOCK = 1 << 16
"""A multiple of the blocks of every file system."""
_COLLAPSE_RANGE = 0x08  # linux/falloc.h


def files(log: str) -> list[str]:
    """Return the paths of the parts of `log`, oldest first; their bytes in this order are one text."""
    return [*(f"{log}.{number}" for number in range(OLDER, 0, -1)), log]


def look_again_s(before_bytes: int, now_bytes: int, waited_s: float) -> float:
    """Return in how many seconds to look at the size again: sooner when the file will be full sooner."""
    rate = max(0, now_bytes - before_bytes) / max(waited_s, 1e-3)
    left_s = (MAX_BYTES - now_bytes) / rate if rate else LOOK_EVERY_S
    return min(LOOK_EVERY_S, max(0.02, left_s))


def rotate(log: str, above_bytes: int = 0) -> bool:
    """Rotate `log` when it is larger than `MAX_BYTES`, or that; return whether it was. Raises OSError."""
    with open(log, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        cut = (size - 1) // BLOCK * BLOCK  # the range may not reach the end of the file
        if size <= (above_bytes or MAX_BYTES) or cut <= 0:
            return False
        keep_from = max(0, cut - MAX_BYTES)  # written faster than it was looked at: the older part is too much
        with open(f"{log}.new", "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copy:
            _copy(file.fileno(), copy.fileno(), keep_from, cut)
        for number in range(OLDER, 1, -1):
            if os.path.exists(f"{log}.{number - 1}"):
                os.replace(f"{log}.{number - 1}", f"{log}.{number}")
        os.replace(f"{log}.new", f"{log}.1")
        _cut_off(file.fileno(), cut)
    return True


def _copy(source: int, target: int, begin: int, end: int) -> None:
    while begin < end:
        block = os.pread(source, min(1 << 20, end - begin), begin)
        if not block:
            return
        os.write(target, block)
        begin += len(block)


def _cut_off(file: int, length: int) -> None:
    """Remove the first `length` bytes of the file, or all of it where the kernel cannot do that."""
    import ctypes  # only when it is needed: it takes a megabyte

    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "fallocate64"):
        arguments = (ctypes.c_int(file), ctypes.c_int(_COLLAPSE_RANGE), ctypes.c_int64(0), ctypes.c_int64(length))
        if library.fallocate64(*arguments) == 0:
            return
        if ctypes.get_errno() not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise OSError(ctypes.get_errno(), "the log could not be cut")
    os.ftruncate(file, 0)
