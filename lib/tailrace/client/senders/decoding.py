"""Content encodings of answers: gzip and deflate by our own decoders, all others by httpx2's, as in the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx2

from tailrace.client.wire import RawHeaders
from tailrace.protocol.encoding import Decoder, decoder, known

ACCEPTED: Final = "gzip, deflate"
"""The `accept-encoding` of every request: what each Python can decode."""
_PIECE_BYTES: Final = 64 << 10


def encoding(headers: RawHeaders) -> str:
    """Return the encodings of an answer with these `headers`, in the order of their use; "" for none."""
    return ", ".join([value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding"])


def decoded(chunks: Iterator[bytes], encodings: str) -> Iterator[bytes]:
    """Yield the decoded body. Raise EncodingError or httpx2.DecodingError when it is damaged, ConnectionError when cut.

    What httpx2 does not know either passes as it is: its reader sees what it is.
    """
    if not known(encodings):
        yield from _foreign(encodings, chunks).iter_bytes()
        return
    decoding = decoder(encodings)
    for chunk in chunks:
        if data := chunk if decoding is None else decoding.feed(chunk):
            yield data
    _check(decoding)


async def adecoded(chunks: AsyncIterator[bytes], encodings: str) -> AsyncIterator[bytes]:
    """Yield the decoded body; see `decoded`."""
    if not known(encodings):
        async for chunk in _foreign(encodings, chunks).aiter_bytes():
            yield chunk
        return
    decoding = decoder(encodings)
    async for chunk in chunks:
        if data := chunk if decoding is None else decoding.feed(chunk):
            yield data
    _check(decoding)


def decoded_whole(body: bytes, encodings: str) -> bytes:
    """Return the decoded body; see `decoded`."""
    pieces = (body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES))
    return b"".join(decoded(pieces, encodings))


def _foreign(encodings: str, chunks: Iterator[bytes] | AsyncIterator[bytes]) -> httpx2.Response:
    return httpx2.Response(200, headers=[(b"content-encoding", encodings.encode("latin-1"))], content=chunks)


def _check(decoding: Decoder | None) -> None:
    if decoding is not None and not decoding.whole:
        raise ConnectionError("a compressed answer was cut")
