"""An answer without an end fills no memory: one that is read whole is bounded, and a stream is passed on."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from contextlib import closing

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Fallback, Policy, Retry
from tailrace.client import AnswerTooLarge, ConnectionFailed, wire
from tailrace.client.senders import aiohttp as aiohttp_sender
from tailrace.client.senders import decoding
from tailrace.client.senders.aiohttp import AiohttpSender
from tailrace.client.senders.httpx2 import AsyncSender, Sender
from tailrace.client.senders.sockets import SocketSender

Ask = Callable[[str], Awaitable[object]]
LIMIT = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ANSWERS = {
    "chunks without an end": HEAD + b"transfer-encoding: chunked\r\n\r\n",
    "bytes without an end": HEAD + b"\r\n",
    "a bomb": HEAD + b"content-encoding: gzip\r\nconnection: close\r\n\r\n" + gzip.compress(b" " * 4 * LIMIT),
    "a cut answer": HEAD + b"content-length: 9\r\n\r\n{",
    "as large as it may be": HEAD + b"content-length: %d\r\n\r\n" % LIMIT + b" " * LIMIT,
}


async def answering(name: str, ask: Ask) -> tuple[object, int, int]:
    """Ask a provider that answers as `name` says; return the answer or its failure, its connections, and its bytes."""
    sent = connections = 0

    async def provide(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent, connections
        connections += 1
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
    try:
        answer = await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    except (wire.Unanswered, openai.APIError) as error:
        answer = error
    finally:
        server.close()
    return answer, connections, sent


async def by_aiohttp(url: str) -> object:
    async with AiohttpSender() as sender:
        return (await sender(models(url))).body


async def by_sockets(url: str) -> object:
    with closing(SocketSender()) as sender:
        return (await asyncio.to_thread(sender, models(url))).body


async def by_httpx2(url: str) -> object:
    async with httpx2.AsyncHTTPTransport() as transport:
        return (await AsyncSender(transport)(models(url))).body


async def by_httpx2_threads(url: str) -> object:
    with httpx2.HTTPTransport() as transport:
        return (await asyncio.to_thread(Sender(transport), models(url))).body


def models(url: str) -> wire.Request:
    return wire.Request("GET", f"{url}/models", (), b"", 30.0)


async def by_client(url: str) -> object:
    """Ask with retries, and a fallback that would answer in the same way."""
    retry = Retry(attempts=3, base_s=0.001, cap_s=0.001)
    policy = Policy(cache=None, retry=retry, fallbacks=(Fallback(base_url=url, model="other"),))
    async with AsyncOpenAI(base_url=url, api_key="sk-test", policy=policy) as client:
        return await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])


@pytest.mark.parametrize("ask", [by_aiohttp, by_sockets, by_httpx2, by_httpx2_threads])
@pytest.mark.parametrize("name", [name for name in ANSWERS if "cut" not in name])
def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str, ask: Ask) -> None:
    """More than the limit is no answer, and is not read to its end; as much as that is one."""
    limited(monkeypatch)
    answer, _, sent = asyncio.run(answering(name, ask))
    assert sent < 32 << 20
    if name == "as large as it may be":
        assert answer == b" " * LIMIT
    else:
        assert isinstance(answer, wire.Unanswered)
        assert answer.kind == "too_large"
        assert isinstance(answer.__cause__, decoding.AnswerTooLarge)


def limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MOST_ANSWER_BYTES", LIMIT)
    monkeypatch.setattr(aiohttp_sender, "MOST_ANSWER_BYTES", LIMIT)


def test_an_answer_that_is_too_large_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt, and a fallback, would be answered alike: there is none, and the error says why."""
    limited(monkeypatch)
    error, connections, _ = asyncio.run(answering("chunks without an end", by_client))
    assert isinstance(error, AnswerTooLarge)
    assert str(error) == f"the answer has more than {LIMIT >> 20} MiB, 1 attempt"
    assert (error.attempts, connections) == (1, 1)


def test_an_answer_that_is_cut_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is what makes it final: after a cut, all attempts are made, here and at the fallback."""
    limited(monkeypatch)
    error, connections, _ = asyncio.run(answering("a cut answer", by_client))
    assert isinstance(error, ConnectionFailed)
    assert not isinstance(error, AnswerTooLarge)
    assert connections == 6
