"""Content encodings of answers: gzip and deflate by our own decoders, all others by httpx2's, as in the SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx2

from tailrace.client.wire import RawHeaders
from tailrace.protocol.encoding import Decoder, decoder, known
from tailrace.protocol.reading import loads

ACCEPTED: Final = "gzip, deflate"
"""The `accept-encoding` of every request: what each Python can decode."""
_PIECE_BYTES: Final = 64 << 10
MOST_ANSWER_BYTES: Final = 128 << 20
"""Of an answer that is read whole, as it comes and decoded: dozens of images. Streams are passed on piece by piece."""


class AnswerTooLarge(ConnectionError):
    """An answer that is to be read whole has more than `MOST_ANSWER_BYTES`."""

    def __init__(self) -> None:
        super().__init__(f"the answer has more than {MOST_ANSWER_BYTES >> 20} MiB")


class CutEncoding(ConnectionError):
    """A body that came whole, but its encoding did not come to its end."""


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


def decoded_whole(chunks: Iterator[bytes], encodings: str) -> bytes:
    """Return the decoded body; see `decoded`. JSON that is whole is an answer, also where its encoding has no end."""
    parts: list[bytes] = []
    try:
        parts.extend(bounded(decoded(chunks, encodings)))
    except CutEncoding:
        body = b"".join(parts)
        try:
            loads(body)
        except ValueError:
            pass
        else:
            return body
        raise
    return b"".join(parts)


def bounded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks; raise AnswerTooLarge when they are too many bytes to be kept."""
    left = MOST_ANSWER_BYTES
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise AnswerTooLarge
        yield chunk


def pieces(body: bytes) -> Iterator[bytes]:
    """Yield `body` in pieces: a decoder limits what one piece may grow to."""
    return (body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES))


def _foreign(encodings: str, chunks: Iterator[bytes] | AsyncIterator[bytes]) -> httpx2.Response:
    return httpx2.Response(200, headers=[(b"content-encoding", encodings.encode("latin-1"))], content=chunks)


def _check(decoding: Decoder | None) -> None:
    if decoding is not None and not decoding.whole:
        raise CutEncoding("a compressed answer was cut")
