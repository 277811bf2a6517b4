"""The app passes a stream on."""

import asyncio
from collections.abc import AsyncIterator

from tailrace.service.app import chunks


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
