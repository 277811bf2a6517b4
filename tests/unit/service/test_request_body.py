"""The bodies of requests are read whole, within limits."""

import asyncio
from typing import Any

import pytest

from tailrace.service.http_response import HttpError
from tailrace.service.request_body import Bodies, ClientDisconnected


def reading(limit: int, *messages: dict[str, Any], headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(waiting)

    return asyncio.run(Bodies(limit, 1 << 30, 60.0).read(receive, {"headers": headers}))


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


def test_all_bodies_together_are_bounded() -> None:
    """Bytes count while they are held: beyond the limit a body is refused with 503, and released it makes room."""

    async def check() -> None:
        bodies = Bodies(10, 12, 60.0)

        async def of(*messages: dict[str, Any], length: bytes = b"") -> bytes:
            waiting = iter(messages)

            async def receive() -> dict[str, Any]:
                return next(waiting)

            return await bodies.read(receive, {"headers": [(b"content-length", length)] if length else []})

        held = await of(part(b"12345", True), part(b"678"))
        assert bodies.held_bytes == 8
        for refused in (of(part(b"12345")), of(part(b"123", True), part(b"45")), of(length=b"5")):
            with pytest.raises(HttpError) as error:
                await refused
            assert error.value.response.status == 503
            assert b"retry-after" in dict(error.value.response.headers)
            assert bodies.held_bytes == 8
        bodies.release(held)
        assert await of(part(b"12345")) == b"12345"
        assert (bodies.held_bytes, bodies.reading) == (5, 0)

    asyncio.run(check())


@pytest.mark.parametrize(("first_s", "silence_s"), [(0.05, 60.0), (60.0, 0.05)])
def test_a_body_that_does_not_come_is_refused(first_s: float, silence_s: float) -> None:
    """A body that stops, and one that trickles, get a 408; nothing of them is held any more."""

    async def check() -> None:
        bodies = Bodies(1000, 1000, silence_s, first_s)
        silent = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if silence_s < first_s:
                await silent.wait()
            await asyncio.sleep(0)
            return part(b"", True)

        with pytest.raises(HttpError) as error:
            await bodies.read(receive, {"headers": []})
        assert error.value.response.status == 408
        assert (bodies.held_bytes, bodies.reading) == (0, 0)

    asyncio.run(check())
