"""Bodies that are read while they are sent: forms with files, files, iterables. The policy holds none of them whole.

A body can be sent again when each file in it can go back: as in the SDK, that is bytes, a list, and what says of itself
that it is `seekable()`. A pipe, a socket or a generator is sent once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2

from tailrace.client.request import forms
from tailrace.client.wire import Upload


def opened(request: httpx2.Request) -> Upload:
    """Return the body of `request` as an upload that begins where its files stand now."""
    stream: Any = request.stream
    parts = getattr(stream, "fields", None)
    length = request.headers.get("content-length", "")
    return Upload(
        _Contents(_contents(request, parts)).rewind,
        forms.from_parts(parts) if isinstance(parts, list) else None,
        int(length) if length.isascii() and length.isdigit() else None,
    )


def _contents(request: httpx2.Request, parts: Any) -> Iterator[object]:
    """Yield what the body is read from."""
    if isinstance(parts, list):
        yield from (getattr(part, "file", b"") for part in parts)
    elif hasattr(request, "_content"):  # httpx2 has read it
        yield b""
    else:
        yield getattr(request.stream, "_stream", None)


class _Contents:
    """The files of a body, and where each stood."""

    def __init__(self, contents: Iterator[object]) -> None:
        self._files: list[tuple[Any, int]] = []
        self._again = all(self._note(content) for content in contents)

    def rewind(self) -> bool:
        """Go back to the beginning; return False, and move nothing, when one of the files cannot."""
        if not self._again:
            return False
        try:
            for file, position in self._files:
                file.seek(position)
        except (OSError, ValueError):  # closed meanwhile
            return False
        return True

    def _note(self, content: Any) -> bool:
        """Return whether `content` can be read again; note where a file stands."""
        if isinstance(content, bytes | bytearray | str) or type(content) in (list, tuple):
            return True  # any other iterable may give the same iterator again, which is empty by then
        try:
            if not content.seekable():
                return False
            position = content.tell()
        except (AttributeError, OSError, ValueError):
            return False
        self._files.append((content, position))
        return isinstance(position, int)
