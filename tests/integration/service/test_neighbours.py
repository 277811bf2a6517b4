"""One caller's failures cost another caller nothing: breaker and retries belong to a model with a credential."""

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import httpx2
import pytest
from tests.integration.service.conftest import Service, StartService

A, B = "Bearer key-of-a", "Bearer key-of-b"
BREAKER = {"min_calls": 5, "failure_rate": 0.5, "window_s": 3_600, "open_s": 3_600}
"""As long as the test takes, however busy the machine is."""
NO_RETRY = {"TAILRACE_RETRY_ATTEMPTS": "1", "TAILRACE_POLICY": json.dumps({"limits": {"breaker": BREAKER}})}
FEW_RETRIES = {
    "TAILRACE_RETRY_ATTEMPTS": "2",
    "TAILRACE_POLICY": json.dumps({
        "retry": {"base_s": 0.001, "cap_s": 0.002, "budget": 0, "budget_burst": 3}, "limits": {"breaker": None},
    }),
}  # fmt: skip
BURNT = 5
"""Calls of B: more than his retries pay for."""


class Provider(http.server.ThreadingHTTPServer):
    """Model "bad" fails; of each prompt of "flaky" the first attempt does; all others are answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.attempts: Counter[tuple[str, str, str]] = Counter()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Provider

    def do_GET(self) -> None:
        self._say(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        model, prompt = asked["model"], asked["messages"][0]["content"]
        attempts = self.server.attempts
        attempts[model, self.headers["authorization"], prompt] += 1
        first = attempts[model, self.headers["authorization"], prompt] == 1
        if model == "bad" or (model == "flaky" and first):
            self._say(500, {"error": {"message": "the model is down"}})
            return
        message = {"role": "assistant", "content": "a"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self._say(200, {"id": "x", "object": "chat.completion", "model": model, "choices": choices})

    def _say(self, status: int, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.shutdown()
    provider.server_close()


@pytest.fixture
def started(serve: StartService, scripted: Provider) -> Callable[..., Service]:
    """Start a service without a key of its own, so that each caller's goes to the provider."""
    return lambda **settings: serve(own_key=False, TAILRACE_PROVIDER_URL=scripted.url, **settings)


def asked(service: Service, who: str, model: str, times: int, subject: str = "") -> Counter[str]:
    """Return how often each answer came: its status, and the code of a refusal of the service's own."""
    found: Counter[str] = Counter()
    for number in range(times):
        prompt = f"{subject}{number}"
        answer = service.chat(prompt, model=model, temperature=1, headers={"authorization": who})
        found[_word(answer)] += 1
    return found


def _word(answer: httpx2.Response) -> str:
    own = answer.json().get("error", {}).get("code") or ""
    return f"{answer.status_code} {own}".strip()


def test_a_model_that_fails_closes_no_other_and_no_other_callers(started, scripted):
    """B's circuit opens. A gets every answer of a model that works, and reaches the broken one with his own key."""
    service = started(**NO_RETRY)
    assert asked(service, B, "bad", 7) == {"500": 5, "503 provider_unavailable": 2}
    assert asked(service, A, "good", 7) == {"200": 7}
    assert asked(service, B, "good", 1) == {"200": 1}
    before = scripted.attempts.total()
    assert asked(service, A, "bad", 1, "mine") == {"500": 1}
    assert scripted.attempts.total() == before + 1


def test_callers_of_one_key_share_the_circuit_of_a_model(serve, scripted):
    """The control: where the service has the key, the model that B found broken is closed for A, and that is said."""
    service = serve(TAILRACE_PROVIDER_URL=scripted.url, **NO_RETRY)
    assert asked(service, B, "bad", 5) == {"500": 5}
    assert asked(service, A, "bad", 2, "mine") == {"503 provider_unavailable": 2}
    assert asked(service, A, "good", 7) == {"200": 7}


def test_a_model_that_fails_uses_up_no_other_models_retries(started):
    """B's model takes all of its retries. Each of A's calls has the one that it needs."""
    service = started(**FEW_RETRIES)
    assert asked(service, B, "bad", BURNT) == {"500": BURNT}
    assert asked(service, A, "flaky", 3) == {"200": 3}
    assert asked(service, A, "flaky", 2, "more") == {"500": 2}


def test_callers_of_one_key_share_the_retries_of_a_model(serve, scripted):
    """The control: behind one key, B leaves no retry of the model for A. The budget bounds what the provider gets."""
    service = serve(TAILRACE_PROVIDER_URL=scripted.url, **FEW_RETRIES)
    assert asked(service, B, "flaky", 3, "b") == {"200": 3}
    assert asked(service, A, "flaky", 1, "a") == {"500": 1}
    assert scripted.attempts.total() == 3 * 2 + 1
