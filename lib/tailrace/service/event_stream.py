"""Event streams on their way to the caller, so that one that is cut can say so.

Only whole lines are passed on: a line that was cut in the middle would be no JSON, and a caller would stumble over it
before it came to the error. The error has the form of the caller's API; after it the connection is closed before the
response is complete, so that nobody takes the answer for a whole one.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MOST_BYTES = 1 << 20
"""A longer line is passed on in pieces: a stream without line ends must not fill the memory."""
_NUMBER = re.compile(rb'"sequence_number": ?(\d{1,15})')
_ENDS = (b"\n", b"\r")


class StreamCut(Exception):
    """The provider ended a stream before its answer was whole."""


class Lines:
    """Cuts the chunks of one stream at the ends of lines; at most `MOST_BYTES` are kept back."""

    def __init__(self) -> None:
        self.last = b""
        """The chunk that was passed on last."""
        self._rest = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return what may be passed on now: all up to the last line end."""
        if self._rest:
            chunk = self._rest + chunk
        if chunk.endswith(_ENDS):
            self._rest = b""
        else:
            end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
            if not end and len(chunk) > MOST_BYTES:
                end = len(chunk)
            chunk, self._rest = chunk[:end], chunk[end:]
        if chunk:
            self.last = chunk
        return chunk

    def close(self) -> bytes:
        """Return what was kept back, at the good end of the stream."""
        rest, self._rest = self._rest, b""
        return rest

    def error(self, path: str, message: str, code: str) -> bytes:
        """Return the event that tells the caller of the API at `path` that the stream ends here."""
        fields: dict[str, Any] = {"message": message, "type": "server_error", "param": None, "code": code}
        if path.endswith("/responses"):
            numbers = _NUMBER.findall(self.last)
            fields |= {"type": "error", "sequence_number": int(numbers[-1]) + 1 if numbers else 0}
            return b"\n\nevent: error\ndata: " + orjson.dumps(fields) + b"\n\n"
        if path.endswith("/messages"):
            told = {"type": "error", "error": {"type": "api_error", "message": message}}
            return b"\n\nevent: error\ndata: " + orjson.dumps(told) + b"\n\n"
        return b"\n\ndata: " + orjson.dumps({"error": fields}) + b"\n\n"
