"""Errors of the machine, not of the service: a full disk, a folder that cannot be written. They decide no verdict."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from typing import Final

_ROOM: Final = "free some space, then call it again"
_INODES: Final = "free some space or remove files, then call it again"
_OWNER: Final = "make it accessible for this user, or call it as its owner"
_PLACE: Final = "move away what is there, then call it again"
_DISK: Final = "look at the disk (dmesg), then call it again"
_LIMITS: Final = "raise the limit (ulimit -a), or end other processes, then call it again"

ADVICE: Final[Mapping[int, str]] = {
    errno.ENOSPC: _INODES,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _LIMITS,
    errno.EROFS: "make the folder writable, or call it in a copy of the project that is",
    errno.EACCES: _OWNER,
    errno.EPERM: _OWNER,
    errno.EIO: _DISK,
    errno.ENXIO: _DISK,
    errno.ENODEV: _DISK,
    errno.ESTALE: "mount the folder again, then call it again",
    errno.EMFILE: _LIMITS,
    errno.ENFILE: _LIMITS,
    errno.EAGAIN: _LIMITS,
    errno.ENOMEM: "free some memory, then call it again",
    errno.EISDIR: _PLACE,
    errno.ENOTDIR: _PLACE,
    errno.ELOOP: _PLACE,
    errno.EEXIST: _PLACE,
    errno.ENOTEMPTY: _PLACE,
    errno.EBUSY: "end what uses it, then call it again",
    errno.ETXTBSY: "end what uses it, then call it again",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EMLINK: "put the project on a file system that can hold it",
}
"""What to do, by the error's number."""
OTHERWISE: Final = "mend that, then call it again"
_NUMBER: Final = re.compile(r"\[Errno (\d+)\]")


def of_machine(error: BaseException) -> bool:
    """Return whether the machine is at fault, by the error or by one that it was raised from."""
    return any(isinstance(one, OSError) and one.errno in ADVICE for one in _chain(error))


def in_text(text: str) -> bool:
    """Return whether `text`, the words of an error of another process, is of an error of the machine."""
    return any(int(number) in ADVICE for number in _NUMBER.findall(text)[:8])


def sentence(error: OSError, subject: str = "") -> str:
    """Return one line: the file, or `subject` where the error names none, what is wrong with it, and what to do."""
    place = error.filename2 if error.filename2 is not None else error.filename
    named = str(place if isinstance(place, str | int) else place.decode(errors="replace") if place else subject)
    fact = error.strerror or str(error) or type(error).__name__
    line = f"{named}: {fact}; {ADVICE.get(error.errno or 0, OTHERWISE)}" if named else fact
    return " ".join(line.split())


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and those that it was raised from; a handful, since a chain may be a ring."""
    one: BaseException | None = error
    for _ in range(10):
        if one is None:
            return
        yield one
        one = one.__cause__
