"""One table of event streams, sent as bytes over sockets: load generator, client and service say the same of each."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import openai
import orjson
import pytest

from event_streams import ALL, EventStream
from tailrace import AsyncOpenAI, OpenAI, Policy
from tailrace.client import Call
from tailrace.client.transports import transport
from tailrace.load.sender import HttpSender
from tailrace.load.workload import PlannedRequest, Workload
from tailrace.protocol.failures import CUT_STREAM

CASES = [*ALL, *(case._replace(name=f"{case.name}, gzip", encoding="gzip") for case in ALL[::7])]
IDS = [case.name for case in CASES]
FIELDS = {"/chat/completions": "messages", "/completions": "prompt", "/responses": "input"}
PIECE = 61
"""Bytes of each chunk of the transfer: events are cut anywhere."""


class Stage:
    """A server that answers with the stream whose number is the model's name, byte by byte as the table has it."""

    def __init__(self) -> None:
        self.requests = 0
        self.url = ""
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._up.wait(60)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._up.set()
        await self._over.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                found = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
                body = await reader.readexactly(int(found[1])) if found else b""
                self.requests += 1
                writer.write(answer(CASES[int(orjson.loads(body)["model"])]) if body else NO_MODELS)
                await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)


NO_MODELS = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{"data":[]}'


def answer(case: EventStream) -> bytes:
    """Return the whole answer: a head, and the stream in small chunks."""
    body = gzip.compress(case.body) if case.encoding else case.body
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {case.content_type}\r\ntransfer-encoding: chunked\r\n"
    head += f"content-encoding: {case.encoding}\r\n" if case.encoding else ""
    pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)]
    return f"{head}\r\n".encode() + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


def request(case: EventStream) -> dict[str, object]:
    """Return the fields of a request for `case`, which a cache may answer."""
    prompt = [{"role": "user", "content": "q"}] if case.path == "/chat/completions" else "q"
    return {"model": str(IDS.index(case.name)), FIELDS[case.path]: prompt, "temperature": 0, "stream": True}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The server of the table."""
    found = Stage()
    yield found
    found.stop()


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_load_generator_says_what_the_table_says(stage: Stage, case: EventStream) -> None:
    """Class of failure, chunks that carry tokens, and usage."""

    async def sent() -> tuple[object, ...]:
        sender = HttpSender(stage.url, Workload(stream_share=1.0, path=case.path), {})
        outcome = await sender.send(0, PlannedRequest(orjson.dumps(request(case)), "m", True))
        await sender.close()
        return outcome.error_type, outcome.chunks, outcome.in_tok, outcome.out_tok, outcome.reasoning_tok

    assert asyncio.run(sent()) == case[2:7]


def told(calls: list[Call]) -> tuple[object, ...]:
    """Return what the first row says, and whether the second request was answered from the cache."""
    call = calls[0]
    assert call.outcome == ("error" if call.error_type else "ok")
    kept = calls[1].cache == "hit"
    return call.error_type, call.chunks, call.in_tok, call.out_tok, call.reasoning_tok, kept


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_the_client_says_what_the_table_says(stage: Stage, case: EventStream) -> None:
    """The same in its accounts; a complete answer, and no other, comes from the cache the second time."""
    calls: list[Call] = []
    policy = Policy(hooks=(calls.append,))
    if not case.sdk:
        with httpx2.Client(transport=transport(policy)) as http:
            for _ in range(2):
                assert http.post(f"{stage.url}{case.path}", json=request(case)).content == case.body
        assert told(calls) == case[2:8]
        return
    with OpenAI(base_url=stage.url, api_key="k", policy=policy) as client:
        for _ in range(2):
            text = ""
            with contextlib.suppress(openai.APIError, ValueError, TypeError, AttributeError):
                for chunk in client.post(case.path, body=request(case), cast_to=object, stream=True,
                                         stream_cls=openai.Stream[object]):  # fmt: skip
                    text += said(chunk)
            assert case.text is None or text == case.text
    assert told(calls) == case[2:8]


BY_SDK = [case for case in CASES if case.sdk]


@pytest.mark.parametrize("case", BY_SDK, ids=[case.name for case in BY_SDK])
def test_the_async_client_says_what_the_table_says(stage: Stage, case: EventStream) -> None:
    """The same with asyncio, whose sender decodes by itself."""

    async def asked() -> list[Call]:
        calls: list[Call] = []
        async with AsyncOpenAI(base_url=stage.url, api_key="k", policy=Policy(hooks=(calls.append,))) as client:
            for _ in range(2):
                with contextlib.suppress(openai.APIError, ValueError, TypeError, AttributeError):
                    stream = await client.post(case.path, body=request(case), cast_to=object, stream=True,
                                               stream_cls=openai.AsyncStream[object])  # fmt: skip
                    async for _chunk in stream:
                        pass
        return calls

    assert told(asyncio.run(asked())) == case[2:8]


FAILED = [case for case in CASES if case.failure == "error_event" and case.path != "/responses"]


@pytest.mark.parametrize("case", FAILED, ids=[case.name for case in FAILED])
@pytest.mark.parametrize("temperature", [0, 1], ids=["shared", "alone"])
def test_the_caller_of_a_failed_stream_gets_an_error(stage: Stage, case: EventStream, temperature: int) -> None:
    """Whatever form the error has, and also where calls may share the stream: the SDK alone knows one form."""

    async def asked() -> None:
        async with AsyncOpenAI(base_url=stage.url, api_key="k") as client:
            body = {**request(case), "temperature": temperature}
            stream = await client.post(case.path, body=body, cast_to=object, stream=True,
                                       stream_cls=openai.AsyncStream[object])  # fmt: skip
            async for _chunk in stream:
                pass

    with pytest.raises(openai.APIError):
        asyncio.run(asked())
    with OpenAI(base_url=stage.url, api_key="k") as client:
        body = {**request(case), "temperature": temperature}
        stream = client.post(case.path, body=body, cast_to=object, stream=True, stream_cls=openai.Stream[object])
        with pytest.raises(openai.APIError):
            list(stream)


def test_an_error_of_the_responses_api_is_an_event(stage: Stage) -> None:
    """Negative control: where the SDK hands errors on as events, nothing is raised."""
    case = next(case for case in CASES if case.name == "a failed response")
    with OpenAI(base_url=stage.url, api_key="k") as client:
        stream = client.post(
            case.path, body=request(case), cast_to=object, stream=True, stream_cls=openai.Stream[object]
        )
        assert len(list(stream)) == 4


def said(chunk: object) -> str:
    """Return the content in a chunk of a chat completion."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    return "".join((choice.get("delta") or {}).get("content") or "" for choice in choices or ())


@pytest.fixture(scope="module")
def service(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx2.Client, Path]]:
    """The service in front of the server of the table, and the file of its log."""
    log = tmp_path_factory.mktemp("service") / "stderr"
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tailrace.service", "--port", "0"], stdout=subprocess.PIPE, stderr=stderr, text=True,
            env={**kept, "TAILRACE_PROVIDER_URL": stage.url, "TAILRACE_RETRY_ATTEMPTS": "1"},
        )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, log.read_text()
    try:
        with httpx2.Client(base_url=found[0], timeout=60) as http:
            yield http, log
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_the_service_says_what_the_table_says(service: tuple[httpx2.Client, Path]) -> None:
    """Bytes pass as they came; log and metrics have the class and the usage; a complete answer is kept.

    A stream that was cut has an event of the service's own at its end, and the connection ends before the answer does.
    """
    http, log = service
    expected, failed = {}, {}
    for number, case in enumerate(CASES):
        for time in ("first", "second"):
            body, whole = received(http, case, f"{time}-{number}")
            if case.failure == CUT_STREAM:
                kept = case.body[: 1 + max(case.body.rfind(end) for end in (b"\n", b"\r"))]
                assert body.startswith(kept), case.name
                event = json.loads(body[len(kept) :].rpartition(b"data: ")[2])
                assert event.get("error", event)["message"], case.name
                assert not whole, case.name
            else:
                assert (body, whole) == (case.body, True), case.name
            hit = time == "second" and case.complete
            outcome = "error" if case.failure else "hit" if hit else "miss"
            expected[f"{time}-{number}"] = (case.name, outcome, case.failure, case.in_tok, case.out_tok)
            if case.failure:
                failed[case.failure] = failed.get(case.failure, 0) + 1
    metrics = http.get("/metrics").text
    counted = re.findall(r'tailrace_request_failures_total\{error_type="(\w+)"\} (\d+)', metrics)
    assert {name: int(count) for name, count in counted} == failed
    assert rows(http, log, len(expected)) == expected


def received(http: httpx2.Client, case: EventStream, id: str) -> tuple[bytes, bool]:
    """Return the body of the service's answer, and whether it was complete."""
    parts: list[bytes] = []
    try:
        with http.stream("POST", f"/v1{case.path}", json=request(case), headers={"x-request-id": id}) as response:
            for part in response.iter_bytes():
                parts.append(part)  # what came before an error is kept
    except httpx2.RemoteProtocolError:
        return b"".join(parts), False
    return b"".join(parts), True


def rows(http: httpx2.Client, log: Path, count: int) -> dict[str, tuple[object, ...]]:
    """Return what the log says of each request, once it has all of them: its lines are written in batches."""
    for _ in range(600):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        found = [line for line in lines if line["event"] == "request" and "in_tok" in line]
        if len(found) >= count:
            break
        http.get("/healthz")
        threading.Event().wait(0.1)
    return {
        line["request_id"]: (CASES[int(line["request_id"].partition("-")[2])].name, line["outcome"],
                             line.get("error_type", ""), line["in_tok"], line["out_tok"])
        for line in found
    }  # fmt: skip


def test_the_readers_are_held_against_the_table(stage: Stage) -> None:
    """Negative control: with another row's stream, they say something else."""
    wrong = next(case for case in CASES if case.failure == "error_event")
    with pytest.raises(AssertionError):
        test_the_load_generator_says_what_the_table_says(stage, wrong._replace(failure=""))
    with pytest.raises(AssertionError):
        test_the_client_says_what_the_table_says(stage, wrong._replace(failure=""))
