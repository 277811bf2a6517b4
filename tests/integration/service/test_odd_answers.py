"""Whatever the head of a provider's answer holds, the caller gets the answer that was paid."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest
from tests.integration.service.conftest import StartService

BODY = (
    b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":'
    b'"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
ODD = {
    "plain": (200, b""),
    "beyond Latin-1": (200, b"x-note: \xe2\x86\x92\r\n"),
    "no UTF-8": (200, b"x-note: caf\xe9\xff\r\n"),
    "an escape": (200, b"x-note: a\x1b[1m\r\n"),
    "a bell and a delete": (200, b"x-note: a\x07\x7f\r\n"),
    "an escape in what we own": (200, b"x-tailrace-cache: \x1b]0;x\x07\r\nx-colour: \x1b[1m\r\n"),
    "numbers in what we own": (200, b"x-tailrace-cost-microusd: 1e999\r\nx-tailrace-attempts: \xb2\r\n"),
    "an order to the edge": (200, b"x-envoy-immediate-health-check-fail: true\r\n"),
    "an interim answer": (200, b""),
    "many": (200, b"".join(b"x-n%d: 1\r\n" % n for n in range(150))),
    "large": (200, b"".join(b"x-n%d: %s\r\n" % (n, b"a" * 4000) for n in range(10))),
    "status 299": (299, b""),
    "status 600": (502, b""),
    "status 999": (502, b""),
}


def head(name: str) -> bytes:
    _, extra = ODD[name]
    status = name.removeprefix("status ") if name.startswith("status ") else "200"
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * (name == "an interim answer")
    first = b"%bHTTP/1.1 %b X\r\ncontent-type: application/json\r\n" % (interim, status.encode())
    return first + extra + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(BODY)


@pytest.fixture
def odd_provider() -> Iterator[str]:
    """A provider that answers each request with the odd head that its prompt names."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as file:
                    size = 0
                    while (line := file.readline().lower()).strip():
                        if line.startswith(b"content-length:"):
                            size = int(line.split(b":")[1])
                    body = file.read(size)
                    name = json.loads(body)["messages"][0]["content"] if body else "plain"
                    connection.sendall(head(name) + BODY)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_an_odd_head_costs_no_answer(serve: StartService, odd_provider: str) -> None:
    """The body comes whole, with a status that HTTP has; what cannot be sent is left out, and no order is passed on."""
    service = serve(TAILRACE_PROVIDER_URL=odd_provider, TAILRACE_RETRY_ATTEMPTS="1")
    answers = {name: service.chat(name) for name in ODD}
    found = {name: (answer.status_code, answer.content) for name, answer in answers.items()}
    assert found == {name: (status, BODY) for name, (status, _) in ODD.items()}
    for answer in answers.values():
        assert answer.headers["x-tailrace-cache"] == "bypass"
        assert answer.headers["x-colour"] == "blue"
        assert "x-envoy-immediate-health-check-fail" not in answer.headers
        assert len(answer.headers) < 90
    assert [row["status"] for row in service.rows("request")] == [status for status, _ in ODD.values()]
