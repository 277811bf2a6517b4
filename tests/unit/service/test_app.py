"""The app reads a request's body and passes a stream on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tailrace.service.app import ClientDisconnected, chunks, read
from tailrace.service.http_response import HttpError


def reading(limit: int, *messages: dict[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return asyncio.run(read(receive, {"headers": headers}, limit))


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_is_read_to_its_end() -> None:
    """Components are put together, up to the limit itself."""
    assert reading(4, part(b"ab", True), part(b"cd")) == b"abcd"


def test_a_body_above_the_limit_is_refused() -> None:
    """A body is refused by its content-length before it is read, or by its bytes when it has none."""
    with pytest.raises(HttpError):
        reading(4, headers=((b"content-length", b"5"),))
    with pytest.raises(HttpError):
        reading(4, part(b"abc", True), part(b"de", True))


def test_a_disconnect_in_the_middle_of_a_body_is_raised() -> None:
    """A disconnect before the body is complete ends the request."""
    with pytest.raises(ClientDisconnected):
        reading(4, part(b"a", True), {"type": "http.disconnect"})


def test_a_stream_that_is_abandoned_is_closed() -> None:
    """When the reader stops half-way, the source is closed at once; empty chunks are not passed on."""
    closed = []

    async def source() -> AsyncIterator[bytes]:
        try:
            for chunk in (b"a", b"", b"b", b"c"):
                yield chunk
        finally:
            closed.append(True)

    async def check() -> None:
        passed = chunks(source())
        assert [await anext(passed), await anext(passed)] == [b"a", b"b"]
        await passed.aclose()
        assert closed == [True]

    asyncio.run(check())
