"""What a peer writes into the head or the body of an answer ends no call in an error of Python's."""

import http.server
import json
import threading

import httpx2
import openai
import pytest

from tailrace import OpenAI, Policy
from tailrace.client import errors

DEEP = b"[" * 100_000 + b"]" * 100_000
ASKED = {"model": "m", "messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize(
    ("text", "attempts"),
    [("3", 3), ("²", 1), ("x", 1), ("", 1), ("-1", 1), ("1e9", 1), (" 3", 1), ("9" * 30, 1), ("9" * 5_000, 1)],
)
def test_a_count_of_attempts_that_is_none_is_one(text, attempts):
    """Without a policy the header is the peer's own. The first is the control."""
    response = httpx2.Response(
        500, headers=[(b"x-tailrace-attempts", text.encode("latin-1"))], request=httpx2.Request("POST", "http://a/v1")
    )
    error = openai.InternalServerError("no", response=response, body=None)
    assert errors.traced(error).attempts == attempts  # type: ignore[attr-defined]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the body that the path names."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = DEEP if self.path.startswith("/deep") else b'{"id": "x"'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["deep", "cut"])
def test_an_answer_that_is_no_json_is_one_kind_of_error(url, kind):
    """However it is broken: as the SDK has it for a body that is cut."""
    client = OpenAI(base_url=f"{url}/{kind}", api_key="sk-test", policy=Policy(retry=None))
    with client, pytest.raises(json.JSONDecodeError):
        client.chat.completions.create(**ASKED)


def test_the_sdk_alone_ends_in_an_error_of_pythons(url):
    """The test above can fail."""
    client = openai.OpenAI(base_url=f"{url}/deep", api_key="sk-test", max_retries=0)
    with client, pytest.raises(RecursionError):
        client.chat.completions.create(**ASKED)
