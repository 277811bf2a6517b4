"""A slow provider and a low limit of open files cost no caller an answer."""

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.depth import scaled
from tests.integration.service.conftest import ended, environment, question

from tailrace.client import wire
from tailrace.client.senders import aiohttp_parser
from tailrace.client.senders.aiohttp import AiohttpSender

BODY = (
    b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":'
    b'"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
CALLERS = scaled(720, 300)
"""60 requests/s whose first token takes 12 s, at once."""


class SlowProvider:
    """Answers no call before it is told to."""

    def __init__(self) -> None:
        self.held = 0
        self.answers = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if size := re.search(rb"(?i)content-length: (\d+)", head):
            await reader.readexactly(int(size[1]))
            self.held += 1
            await self.answers.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(BODY))
        writer.write(b"connection: close\r\n\r\n" + BODY)
        writer.close()


async def status_of(port: int, number: int) -> int:
    """Make one call; return the status of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(question(f"{number}")).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    assert (b" 503 " in answer[:20]) == (b"retry-after: " in answer)
    return int(answer.split()[1])


def launched(limits: str, url: str, stderr: Path) -> subprocess.Popen[str]:
    shell = f'ulimit -n 4096; ulimit {limits}; exec "$0" -m tailrace.service --port 0'
    with stderr.open("wb") as log:
        return subprocess.Popen(
            ["bash", "-c", shell, sys.executable], stdout=subprocess.PIPE, stderr=log, text=True,
            env=environment(TAILRACE_PROVIDER_URL=url),
        )  # fmt: skip


@asynccontextmanager
async def serving(limits: str, provider: SlowProvider, stderr: Path) -> AsyncIterator[int]:
    """Run a service under these limits of open files; yield its port."""
    server = await asyncio.start_server(provider, "127.0.0.1", 0, backlog=1000)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    process = await asyncio.to_thread(launched, limits, url, stderr)
    assert process.stdout is not None
    try:
        line = await asyncio.to_thread(process.stdout.readline)
        yield int(line.rsplit(":", 1)[1])
    finally:
        ended(process)
        server.close()


@pytest.mark.parametrize("limits", ["-S -n 256", "-n 256"])
def test_every_request_is_answered(tmp_path: Path, limits: str) -> None:
    """Where the soft limit may be raised, all wait for their answers; where not, those beyond the limit get a 503."""

    async def check() -> tuple[Counter[int], int]:
        provider = SlowProvider()
        async with serving(limits, provider, tmp_path / "stderr") as port:
            calls: list[asyncio.Task[int]] = []
            async with asyncio.timeout(100):
                while len(calls) < CALLERS:
                    calls += [asyncio.create_task(status_of(port, len(calls) + more)) for more in range(20)]
                    while provider.held + sum(call.done() for call in calls) < len(calls):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            held = provider.held
            provider.answers.set()
            return Counter(await asyncio.gather(*calls)), held

    statuses, held = asyncio.run(check())
    in_flight = CALLERS if "-S" in limits else (256 - 96) // 4
    assert held == in_flight
    assert statuses == Counter({200: in_flight}) + Counter({503: CALLERS - in_flight})
    assert '"error"' not in (tmp_path / "stderr").read_text().replace('"outcome":"error"', "")


def test_a_burst_beyond_all_open_files_is_answered(tmp_path: Path) -> None:
    """Many more callers at once than there are descriptors: those beyond the limits get a 503, and none a reset."""

    async def check() -> tuple[Counter[int], int]:
        provider = SlowProvider()
        async with serving("-n 256", provider, tmp_path / "stderr") as port:
            calls: list[asyncio.Task[int]] = []
            async with asyncio.timeout(100):
                for callers in scaled((300, 720), (100, 240)):
                    calls += [asyncio.create_task(status_of(port, len(calls) + more)) for more in range(callers)]
                    while provider.held + sum(call.done() for call in calls) < len(calls):  # noqa: ASYNC110
                        await asyncio.sleep(0.01)
            held = provider.held
            provider.answers.set()
            return Counter(await asyncio.gather(*calls)), held

    statuses, held = asyncio.run(check())
    assert held == (256 - 96) // 4
    assert statuses == {200: held, 503: sum(scaled((300, 720), (100, 240))) - held}


@pytest.mark.parametrize("bounded", [True, False])
def test_connections_to_many_origins_are_bounded_together(monkeypatch: pytest.MonkeyPatch, bounded: bool) -> None:
    """However many targets a policy has, as many are kept as may be in use; aiohttp alone keeps as many for each."""
    if not bounded:
        monkeypatch.delattr(aiohttp_parser._Connector, "_release")

    async def check() -> int:
        servers = [await asyncio.start_server(answering(), "127.0.0.1", 0) for _ in range(4)]
        async with AiohttpSender(connections=3) as sender:
            for server in servers:
                url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/models"
                await asyncio.gather(*(sender(wire.Request("GET", url, (), b"", 30.0)) for _ in range(3)))
            kept = sum(map(len, sender._session().connector._conns.values()))  # type: ignore[union-attr]
        for server in servers:
            server.close()
        return kept

    assert asyncio.run(check()) == (3 if bounded else 12)


def answering() -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return what answers one request once two more have come, and keeps the connection."""
    waiting = asyncio.Barrier(3)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await waiting.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        await reader.read()
        writer.close()

    return answer
