"""h11, the parser of the SDK's own transport, for an answer that a faster parser refuses.

A paid answer must not be lost, and its request not be sent again, because a parser is stricter than the SDK's: the
bytes that came so far are read once more.
"""

from __future__ import annotations

from typing import Final

import h11

MOST_HEAD_BYTES: Final = 100 << 10
"""How much of an answer may come without its whole head, as in the SDK's transport."""
LONG_HEAD: Final = f"the head of an answer is longer than {MOST_HEAD_BYTES >> 10} KiB"
MOST_KEPT_BYTES: Final = 128 << 10
"""How much is read before an answer cannot be read again; what is odd about one shows in its head or first chunk."""


class FallbackParser:
    """Reads one answer to `method` from its first byte. Raises ConnectionError for what h11 refuses, too."""

    def __init__(self, method: str) -> None:
        self._h11 = h11.Connection(h11.CLIENT, MOST_HEAD_BYTES)
        self._h11.send(h11.Request(method=method, target="/", headers=[("host", "_")]))
        self._h11.send(h11.EndOfMessage())
        self.status = 0
        """0 until the whole head has come."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.whole = False

    def feed(self, data: bytes) -> bytes:
        """Return what `data` adds to the body; b"" says that the connection has ended."""
        pieces = []
        try:
            self._h11.receive_data(data)
            while not self.whole:
                event = self._h11.next_event()
                if isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                elif isinstance(event, h11.Response):
                    self.status, self.headers = event.status_code, event.headers.raw_items()
                elif isinstance(event, h11.EndOfMessage):
                    self.whole = True
                elif not isinstance(event, h11.InformationalResponse):
                    break
        except h11.RemoteProtocolError as error:
            raise ConnectionError(f"not HTTP/1.1: {error}") from error
        return b"".join(pieces)
