"""Bodies that are read while they are sent: forms with files, files, iterables. The policy holds none of them whole.

A body can be sent again when each file in it can go back: as in the SDK, that is bytes, a list, and what says of itself
that it is `seekable()`. A pipe, a socket or a generator is sent once. Each attempt sends the same bytes: what was
appended to a file since the call began is left out, and a file that has lost bytes, or holds others than an attempt
before has sent, ends the call with `BodyChanged`.
"""

from __future__ import annotations

import copy
import io
import os
import zlib
from collections.abc import Callable
from typing import Any, Final

import httpx2

from tailrace.client.errors import BodyChanged
from tailrace.client.request import forms
from tailrace.client.wire import Upload

_PLAIN: Final = (io.FileIO, io.BufferedReader, io.BufferedRandom, io.BytesIO)
"""Files that give as many bytes as they are long; one that decompresses, for example, gives more."""


def opened(request: httpx2.Request) -> Upload:
    """Return the body of `request` as an upload that begins where its files stand now."""
    stream: Any = request.stream
    parts = getattr(stream, "fields", None)
    length = request.headers.get("content-length", "")
    size_bytes = int(length) if length.isascii() and length.isdigit() else None
    contents = _Contents(request)
    if isinstance(parts, list):
        body = contents.form(stream, size_bytes)
        return Upload(contents.rewind, forms.from_parts(parts), size_bytes, body)
    return Upload(contents.rewind, None, size_bytes, contents.raw(stream, size_bytes))


class _Contents:
    """The files of a body."""

    def __init__(self, request: httpx2.Request) -> None:
        self._request = request
        self._files: list[_File] = []
        self._again = True

    def form(self, stream: Any, size_bytes: int | None) -> Any:
        """Return the form with files that give the same bytes at each attempt."""
        body = copy.copy(stream)
        body.fields = [self._part(part) for part in stream.fields]
        grown_bytes = 0 if size_bytes is None else (stream.get_content_length() or size_bytes) - size_bytes
        if grown_bytes and len(self._files) == 1:  # since the length of the form was taken
            self._files[0].size_bytes = max(0, (self._files[0].size_bytes or 0) - grown_bytes)
        return body

    def raw(self, stream: Any, size_bytes: int | None) -> Any:
        """Return a body that is no form, and gives the same bytes at each attempt."""
        if hasattr(self._request, "_content"):  # httpx2 has read it
            return stream
        body = copy.copy(stream)
        body._stream = self._same(getattr(stream, "_stream", None), size_bytes)
        return body

    def rewind(self) -> bool:
        """Go back to the beginning; return False when one of the files cannot. Raise BodyChanged if one is shorter."""
        if not self._again:
            return False
        try:
            for file in self._files:
                file.rewind()
        except (OSError, ValueError):  # closed meanwhile
            return False
        return True

    def _part(self, part: Any) -> Any:
        content = getattr(part, "file", b"")
        length = part.get_length() if hasattr(content, "read") else None
        file = self._same(content, None if length is None else length - len(part.render_headers()), 0)
        if file is content:
            return part
        same = copy.copy(part)
        same.file = file
        return same

    def _same(self, content: Any, size_bytes: int | None, start: int | None = None) -> Any:
        """Return what gives the bytes of `content` at each attempt, from `start` (None: from where it stands now)."""
        if isinstance(content, bytes | bytearray | str) or type(content) in (list, tuple):
            return content  # any other iterable may give the same iterator again, which is empty by then
        try:
            position = content.tell() if content.seekable() else None
        except (AttributeError, OSError, ValueError):
            position = None
        if not isinstance(position, int):
            self._again = False
            return content
        file = _File(content, position if start is None else start, size_bytes, self._changed)
        self._files.append(file)
        return file

    def _changed(self, fact: str) -> BodyChanged:
        return BodyChanged(
            f"a file of the body {fact}; send a copy of it, or call again when nobody writes to it", self._request
        )


class _File:
    """A file that gives the same bytes each time it is read from `start` on; it raises what `changed` returns when it
    cannot. A checksum of what was read is compared before the last of it is given away.
    """

    def __init__(self, file: Any, start: int, size_bytes: int | None, changed: Callable[[str], BodyChanged]) -> None:
        self.size_bytes = size_bytes
        """How much is sent; None: until its end, which is then the end for all attempts."""
        self._file = file
        self._start = start
        self._changed = changed
        self._plain = isinstance(getattr(file, "file", file), _PLAIN)  # a temporary file holds another
        self._at = self._sum = 0
        self._sent = (0, 0)
        """How much of it the longest attempt before has read, and the checksum of that."""

    def rewind(self) -> None:
        if self._plain and self.size_bytes is not None:
            left_bytes = self._file.seek(0, os.SEEK_END) - self._start
            if left_bytes < self.size_bytes:
                raise self._changed(f"has only {left_bytes} of the {self.size_bytes} bytes it had when the call began")
        self.seek(0)

    def seek(self, offset: int) -> int:
        """Go back to `start`: nobody seeks anything but the beginning."""
        self._file.seek(self._start)
        self._sent = max(self._sent, (self._at, self._sum))
        self._at = self._sum = 0
        return offset

    def read(self, most_bytes: int) -> bytes:
        if self._at == self.size_bytes:
            return b""
        piece: bytes = self._file.read(most_bytes)
        if isinstance(piece, str):
            piece = piece.encode()
        begins, self._at = self._at, self._at + len(piece)
        if self.size_bytes is not None:
            if not piece:
                raise self._changed(f"ends after {begins} of {self.size_bytes} bytes")
            if self._at > self.size_bytes or (self._at == self.size_bytes and not self._plain and self._file.read(1)):
                if not self._plain:
                    raise self._changed(f"gives more than the {self.size_bytes} bytes that it says to hold")
                self._at, piece = self.size_bytes, piece[: self.size_bytes - begins]
        elif not piece:
            self.size_bytes = begins
        sent, checksum = self._sent
        if begins < sent <= self._at and zlib.crc32(piece[: sent - begins], self._sum) != checksum:
            raise self._changed("holds other bytes than those that an attempt before has sent")
        if not piece and begins < sent:
            raise self._changed(f"ends after {begins} of {sent} bytes that an attempt before has sent")
        self._sum = zlib.crc32(piece, self._sum)
        return piece
