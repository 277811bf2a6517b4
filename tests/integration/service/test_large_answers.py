"""An answer without an end fills no memory: one that is read whole is bounded, and a stream is passed on."""

import asyncio
import gzip
from contextlib import closing

import pytest

from tailrace.client import wire
from tailrace.client.senders import aiohttp as aiohttp_sender
from tailrace.client.senders import decoding
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.client.senders.sockets import SocketSender

LIMIT = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ANSWERS = {
    "chunks without an end": HEAD + b"transfer-encoding: chunked\r\n\r\n",
    "bytes without an end": HEAD + b"\r\n",
    "a bomb": HEAD + b"content-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(b" " * 4 * LIMIT),
    "as large as it may be": HEAD + b"content-length: %d\r\n\r\n" % LIMIT + b" " * LIMIT,
}


async def answering(name: str, ask: str) -> tuple[object, int]:
    """Ask a provider that answers as `name` says; return the answer or its failure, and the bytes that were sent."""
    sent = 0

    async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWERS[name])
        piece = b"10000\r\n" + b" " * 65_536 + b"\r\n" if "chunks" in name else b" " * 65_536
        try:
            while "without" in name:
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    server = await asyncio.start_server(provide, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models"
    request = wire.Request("GET", url, (), b"", 30.0)
    try:
        if ask == "asyncio":
            async with AiohttpSender() as sender:
                return (await sender(request)).body, sent
        with closing(SocketSender()) as blocking:
            return (await asyncio.to_thread(blocking, request)).body, sent
    except wire.Unanswered as error:
        return error, sent
    finally:
        server.close()


@pytest.mark.parametrize("ask", ["asyncio", "threads"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, ask: str) -> None:
    """More than the limit is no answer, and is not read to its end; as much as that is one."""
    monkeypatch.setattr(decoding, "MOST_ANSWER_BYTES", LIMIT)
    monkeypatch.setattr(aiohttp_sender, "MOST_ANSWER_BYTES", LIMIT)
    answer, sent = asyncio.run(answering(name, ask))
    assert sent < 32 << 20
    if name == "as large as it may be":
        assert answer == b" " * LIMIT
    else:
        assert isinstance(answer, wire.Unanswered)
        assert answer.kind == "connection"
        assert isinstance(answer.__cause__, decoding.AnswerTooLarge)
