"""Answers that take long, streams that are cut, and callers who hang: what ends, and what the caller is told."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from tests.integration.service.conftest import Service, question, running

MESSAGES: Any = [{"role": "user", "content": "hello"}]


def chunk(text: str, end: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": end}
    document = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def typed(number: int) -> bytes:
    document = {"type": "response.output_text.delta", "sequence_number": number, "delta": "a"}
    return b"event: response.output_text.delta\ndata: " + json.dumps(document).encode() + b"\n\n"


@dataclass
class Script:
    """What a provider does: it sends each part after its pause, then ends as `chunked` says."""

    parts: list[tuple[float, bytes]]
    content_type: str = "text/event-stream"
    chunked: bool = False
    """Whether the response has an end of its own, and lacks it; else the end of the connection is its end."""
    asked: int = 0
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the other side has left."""


class Provider:
    """A provider that answers as `script` says."""

    def __init__(self) -> None:
        provider = self
        self.script = Script([])

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                script = provider.script
                self.rfile.read(int(self.headers["content-length"]))
                script.asked += 1
                self.close_connection = True
                try:
                    for number, (pause_s, data) in enumerate(script.parts):
                        time.sleep(pause_s)
                        if not number:
                            self.send_response(200)
                            self.send_header("content-type", script.content_type)
                            chunked = ("transfer-encoding", "chunked")
                            self.send_header(*(chunked if script.chunked else ("connection", "close")))
                            self.end_headers()
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if script.chunked else data)
                        self.wfile.flush()
                except OSError:
                    script.left.set()

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def play(self, *parts: tuple[float, bytes], **how: Any) -> Script:
        """Answer from now on with these parts; return the script, which counts."""
        self.script = Script(list(parts), **how)
        return self.script


@pytest.fixture(scope="module")
def scripted() -> Iterator[Provider]:
    provider = Provider()
    thread = threading.Thread(target=provider.server.serve_forever, daemon=True)
    thread.start()
    yield provider
    provider.server.shutdown()
    provider.server.server_close()
    thread.join()


@contextmanager
def started(provider: Provider, folder: Path, **settings: str) -> Iterator[Service]:
    """Run a service in front of the scripted provider."""
    with running(provider, folder / "stderr", True, settings) as service:  # type: ignore[arg-type]
        yield service


@pytest.fixture(scope="module")
def _patient(scripted: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(scripted, tmp_path_factory.mktemp("patient")) as service:
        yield service


@pytest.fixture
def patient(_patient: Service) -> Service:
    """A service with default settings, which the tests here share."""
    return replace(_patient, skip=len(replace(_patient, skip=0).rows()))


@pytest.fixture(scope="module")
def _impatient(scripted: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with started(scripted, tmp_path_factory.mktemp("impatient"), TAILRACE_SILENCE_S="2") as service:
        yield service


@pytest.fixture
def impatient(_impatient: Service) -> Service:
    """A service that waits 2 s for the next bytes, which the tests here share."""
    return replace(_impatient, skip=len(replace(_impatient, skip=0).rows()))


Answer = tuple[int, bytes, bool]


def ask(service: Service, path: str = "chat/completions", **body: Any) -> Answer:
    """Return status, body, and whether the response came to its end."""
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=60)
    connection.request("POST", f"/v1/{path}", json.dumps({"model": "m", **body}), {"content-type": "application/json"})
    response, parts = connection.getresponse(), []
    try:
        while part := response.read1(65_536):
            parts.append(part)
        return response.status, b"".join(parts), True
    except (http.client.IncompleteRead, ConnectionError) as error:
        return response.status, b"".join(parts) + getattr(error, "partial", b""), False
    finally:
        connection.close()


def events(body: bytes) -> list[Any]:
    """Return the JSON of the data lines; fails when one is not JSON."""
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: ") and line[6:] != b"[DONE]"]


def slow_stream(words: int, pause_s: float) -> list[tuple[float, bytes]]:
    return [*((pause_s, chunk("a")) for _ in range(words)), (pause_s, chunk("", "stop") + b"data: [DONE]\n\n")]


def plain(pause_s: float) -> tuple[float, bytes]:
    message = {"role": "assistant", "content": "hi"}
    document = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}]}  # fmt: skip
    return pause_s, json.dumps(document).encode()


def test_a_deadline_is_for_the_beginning_of_an_answer(scripted: Provider, tmp_path: Path) -> None:
    """A stream that flows passes a deadline of 2 s; a plain answer that comes later does not, and is asked for once."""
    with started(scripted, tmp_path, TAILRACE_DEADLINE_S="2") as service:
        streamed = scripted.play((0.0, chunk("a")), *slow_stream(5, 0.5))
        status, body, whole = ask(service, stream=True, messages=MESSAGES)
        assert (status, whole, body.endswith(b"data: [DONE]\n\n")) == (200, True, True)
        late = scripted.play(plain(30.0), content_type="application/json")
        status, body, _ = ask(service, messages=MESSAGES)
        assert (status, json.loads(body)["error"]["code"]) == (504, "provider_timeout")
    assert (streamed.asked, late.asked) == (1, 1)


def test_an_attempt_may_take_as_long_as_the_deadline(scripted: Provider, patient: Service, tmp_path: Path) -> None:
    """Without settings a slow answer is asked for once; an attempt's own time, the control, asks again."""
    slow = scripted.play(plain(1.5), content_type="application/json")
    assert (ask(patient, messages=MESSAGES)[0], slow.asked) == (200, 1)
    with started(scripted, tmp_path, TAILRACE_ATTEMPT_TIMEOUT_S="0.5", TAILRACE_RETRY_ATTEMPTS="2") as service:
        assert (ask(service, messages=MESSAGES)[0], slow.asked) == (504, 3)


@pytest.mark.parametrize(
    ("chunked", "last"),
    [(True, b""), (False, b""), (False, b'data: {"id": "c", "obj'), (True, b'data: {"id": "c"}')],
    ids=["broken", "ended early", "in a line", "in an event"],
)
def test_a_stream_that_the_provider_cuts_ends_with_an_error_event(
    scripted: Provider, patient: Service, chunked: bool, last: bytes
) -> None:
    """The error is the last event, all events are JSON, there is no [DONE] and no end; it is booked as failed."""
    scripted.play((0.0, chunk("a")), (0.1, chunk("b") + last), chunked=chunked)
    failed = failures(patient)
    status, body, whole = ask(patient, stream=True, messages=MESSAGES)
    assert (status, whole) == (200, False)
    assert events(body)[-1]["error"]["code"] == "stream_cut"
    assert [event["choices"][0]["delta"]["content"] for event in events(body) if "choices" in event] == ["a", "b"]
    assert b"[DONE]" not in body
    row = patient.until("request")
    assert (row["outcome"], row["status"], row["error_type"]) == ("error", 200, "cut_stream")
    assert failures(patient) == failed + 1


def test_a_whole_stream_has_no_error_event(scripted: Provider, patient: Service) -> None:
    """Negative control: a whole answer ends as the provider ended it, also when the connection breaks behind it."""
    failed = failures(patient)
    for chunked in (False, True):
        scripted.play(*slow_stream(2, 0.0), chunked=chunked)
        status, body, whole = ask(patient, stream=True, messages=MESSAGES)
        assert (status, whole) == (200, True)
        assert body == b"".join(data for _, data in slow_stream(2, 0.0))
        assert patient.until("request")["outcome"] != "error"
    assert failures(patient) == failed


def test_a_silent_stream_ends_with_an_error_event(scripted: Provider, impatient: Service) -> None:
    """Silence has its own limit, and its own code."""
    scripted.play((0.0, chunk("a")), (60.0, chunk("b")))
    status, body, whole = ask(impatient, stream=True, messages=MESSAGES)
    assert (status, whole, events(body)[-1]["error"]["code"]) == (200, False, "provider_timeout")
    assert impatient.until("request")["outcome"] == "error"


def test_the_error_event_has_the_form_of_the_callers_api(scripted: Provider, patient: Service) -> None:
    """Responses get a typed event with the next number; the official SDK raises the error of a chat."""
    scripted.play((0.0, typed(4)), (0.1, typed(5)))
    _, body, whole = ask(patient, "responses", stream=True, input="hello")
    last = events(body)[-1]
    assert (whole, last["type"], last["code"], last["sequence_number"]) == (False, "error", "stream_cut", 6)
    assert b"\nevent: error\n" in body
    scripted.play((0.0, chunk("a")))
    with openai.OpenAI(base_url=f"{patient.url}/v1", api_key="anything", max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="not whole"):
            list(stream)


def test_a_stream_that_a_shutdown_cuts_says_so(scripted: Provider, tmp_path: Path) -> None:
    """At the end of the drain, a stream that still flows ends with an error event."""
    scripted.play(*slow_stream(600, 0.1))
    with started(scripted, tmp_path, TAILRACE_DRAIN_S="0.5") as service:
        timer = threading.Timer(0.5, service.process.terminate)
        timer.start()
        _, body, whole = ask(service, stream=True, messages=MESSAGES)
        assert (whole, events(body)[-1]["error"]["code"]) == (False, "draining")
        assert service.until("request")["outcome"] == "cut"


def failures(service: Service) -> float:
    """Return how many requests the service has booked as failed."""
    name = 'tailrace_request_duration_seconds_count{outcome="error"}'
    lines = service.http.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def in_flight(service: Service) -> float:
    line = next(
        line for line in service.http.get("/metrics").text.splitlines() if line.startswith("tailrace_requests_i")
    )
    return float(line.rpartition(" ")[2])


def hung_caller(service: Service) -> socket.socket:
    """Return the connection of a caller who has asked for a stream and never reads."""
    place = urlsplit(service.url)
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect((place.hostname, place.port))
    body = json.dumps(question(stream=True)).encode()
    caller.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    assert until(lambda: in_flight(service) == 1.0)
    return caller


def until(true: Callable[[], bool], timeout_s: float = 60.0) -> bool:
    """Wait until `true()` holds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def test_a_caller_who_does_not_read_is_not_waited_for_forever(
    scripted: Provider, patient: Service, impatient: Service
) -> None:
    """When nothing is taken for TAILRACE_SILENCE_S, the kernel ends the connection, and with it the provider's stream;
    a service with a longer time, the control, still waits then."""
    endless = scripted.play(*[(0.0, b": " + b"x" * 65_000 + b"\n")] * 2_000)
    callers = [hung_caller(service) for service in (patient, impatient)]
    try:
        assert until(lambda: in_flight(impatient) == 0.0)
        assert impatient.until("request")["outcome"] == "cancelled"
        assert endless.left.wait(60)
        assert in_flight(patient) == 1.0
    finally:
        for caller in callers:
            caller.close()


def test_a_caller_who_sends_half_a_body_is_answered(scripted: Provider, impatient: Service) -> None:
    """A body of which nothing more comes is answered with 408; one that comes in pieces, the control, is served."""
    scripted.play(plain(0.0), content_type="application/json")
    body = json.dumps(question()).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    address = urlsplit(impatient.url).netloc.split(":")
    for pieces, status in (([body[:10]], b"408"), ([body[i : i + 20] for i in range(0, len(body), 20)], b"200")):
        with socket.create_connection((address[0], int(address[1])), 60) as caller:
            caller.sendall(head)
            for piece in pieces:
                caller.sendall(piece)
                time.sleep(0.05)
            assert caller.recv(4096).split(b" ")[1] == status
