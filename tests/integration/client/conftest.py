"""Real HTTP for the client: the simulator as a process, and a scripted server."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest


@pytest.fixture(scope="module", autouse=True)
def _no_authorities(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let clients trust no authority: none here needs one, and each client would take 20 ms to read them all."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("SSL_CERT_FILE", raising=False)
        environment.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("authorities")))
        yield


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """A scripted answer: `chunks` make it a chunked stream; `cut` closes the connection instead of ending it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] | None = None
    delay_s: float = 0.0
    between_s: float = 0.0
    cut: bool = False


@dataclass
class Provider:
    """A scripted server: it gives `answers` in turn, then `usual(seen)`."""

    url: str
    seen: list[Seen]
    answers: list[Answer]
    usual: Callable[[Seen], Answer]


def completion(text: str = "hello", finish: str = "stop", model: str = "gpt-4o-mini", **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": finish, "logprobs": None,
              "message": {"role": "assistant", "content": text, "refusal": None}}  # fmt: skip
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model,
                       "choices": [choice], "usage": usage, **more}).encode()  # fmt: skip


def events(*texts: str, finish: str | None = "stop", done: bool = True) -> tuple[bytes, ...]:
    def event(delta: dict[str, str], reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-4o-mini",
            "choices": [choice],
        }
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    chunks = [event({"content": text}, None) for text in texts]
    chunks += [event({}, finish)] if finish else []
    return (*chunks, b"data: [DONE]\n\n") if done else tuple(chunks)


def echo(seen: Seen) -> Answer:
    """Return an answer whose text is unique to the request."""
    asked = seen.json if seen.body.startswith(b"{") else {}
    text = json.dumps([seen.path, seen.headers.get("authorization"), asked], sort_keys=True)
    if asked.get("stream"):
        return Answer(headers={"content-type": "text/event-stream"}, chunks=events("a", text))
    return Answer(body=completion(text), headers={"content-type": "application/json", "x-request-id": "req_1"})


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The scripted server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0)) or b"".join(self._chunks())
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen = Seen(self.command, self.path, headers, body)
            with lock:
                made.seen.append(seen)
                answer = made.answers.pop(0) if made.answers else None
            try:
                self._send(answer or made.usual(seen))
            except OSError:
                self.close_connection = True

        do_POST = do_GET = do_PUT = _answer

        def _chunks(self) -> Iterator[bytes]:
            while self.headers.get("transfer-encoding") and (size := int(self.rfile.readline(), 16)):
                yield self.rfile.read(size)
                self.rfile.readline()

        def _send(self, answer: Answer) -> None:
            time.sleep(answer.delay_s)
            if answer.cut and answer.chunks is None:
                self.close_connection = True
                return
            self.send_response(answer.status)
            headers = {"content-type": "application/json", **answer.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            if answer.chunks is None:
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
                return
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for chunk in answer.chunks:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                self.wfile.flush()
                time.sleep(answer.between_s)
            if answer.cut:
                self.close_connection = True
            else:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that hangs up is what some tests are about

    lock = threading.Lock()
    with Server(("127.0.0.1", 0), Handler) as server:
        made = Provider(f"http://127.0.0.1:{server.server_port}/v1", [], [], echo)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Simulated:
    """The simulator, in a process of its own."""

    url: str
    http: httpx2.Client

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        return self.http.request(method, f"{self.url.removesuffix('/v1')}/admin/{path}", json=body).json()

    def faults(self, *faults: dict[str, Any]) -> None:
        self.admin("PUT", "faults", list(faults))

    @property
    def requests(self) -> int:
        return int(self.admin("GET", "stats")["requests"])


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[Simulated]:
    command = [sys.executable, "-m", "tailrace.simulator", "--ttft-s", "0.005", "--token-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, httpx2.Client() as http:
        try:
            yield Simulated(process.stdout.readline().split()[-1], http)
        finally:
            process.terminate()


@pytest.fixture
def simulator(simulator_process: Simulated) -> Simulated:
    """The simulator, without faults and with its counters at 0."""
    simulator_process.admin("DELETE", "faults")
    simulator_process.admin("POST", "reset")
    return simulator_process


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis of its own, on a socket in a folder."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine")
    path = tmp_path_factory.mktemp("redis") / "s"
    command = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(path.parent)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            until = time.monotonic() + 60
            while not path.exists() and time.monotonic() < until:
                time.sleep(0.02)
            yield f"unix://{path}"
        finally:
            server.terminate()


@pytest.fixture
def make() -> Any:
    """Builders of answers and bodies."""
    return type("Make", (), {"answer": Answer, "completion": staticmethod(completion), "events": staticmethod(events)})


@pytest.fixture
def key() -> str:
    """A fake API key."""
    return "sk-" + "t" * 30
