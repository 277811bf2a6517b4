"""Shutdown of a service: requests in flight complete, and the process exits with 0."""

import signal
import threading
import time
from typing import Any

import httpx2
import pytest
from tests.integration.service.conftest import Service, Simulator, StartService, question

from tailrace.host.waiting import until


class Stream(threading.Thread):
    """A caller that reads a long stream."""

    def __init__(self, service: Service, tokens: int) -> None:
        super().__init__()
        self.url = f"{service.url}/v1/chat/completions"
        self.body: dict[str, Any] = question(stream=True, max_tokens=tokens)
        self.begun = threading.Event()
        self.content = b""
        self.error = ""
        self.start()
        assert self.begun.wait(60)

    def run(self) -> None:
        try:
            with httpx2.stream("POST", self.url, json=self.body, timeout=20) as response:
                for chunk in response.iter_raw():
                    self.content += chunk
                    self.begun.set()
        except httpx2.HTTPError as error:
            self.error = type(error).__name__

    @property
    def whole(self) -> bool:
        return not self.error and self.content.endswith(b"data: [DONE]\n\n")


@pytest.fixture(autouse=True)
def _slow_tokens(provider: Simulator) -> None:
    provider.slow(ttft_s=0.02, token_s=0.05, token_sigma=0)


def test_requests_in_flight_complete(serve: StartService) -> None:
    """After SIGTERM ready is red at once, a stream and a late request complete, and the process exits with 0."""
    service = serve(TAILRACE_DRAIN_S="10")
    stream = Stream(service, tokens=24)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    ready = service.http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["parts"]["drain"] == {"ok": False, "fact": "draining, 1 in flight"}
    assert ready.headers["connection"] == "close"
    late = service.chat()
    assert late.status_code == 200
    stream.join()
    assert stream.whole
    assert service.process.wait(60) == 0
    assert service.rows("drained")[0]["cut"] == 0


def test_without_time_to_drain_a_stream_is_cut(serve: StartService) -> None:
    """The control: without time to drain, the same stream is cut, and the log counts it."""
    service = serve(TAILRACE_DRAIN_S="0")
    stream = Stream(service, tokens=24)
    service.process.send_signal(signal.SIGTERM)
    stream.join()
    assert not stream.whole
    assert service.process.wait(60) == 0
    assert service.rows("drained")[0]["cut"] == 1
    assert service.rows("request")[-1]["outcome"] == "cut"


def test_requests_beyond_the_deadline_are_cut_and_counted(serve: StartService, provider: Simulator) -> None:
    """At the deadline, a request without a response gets a 503, a stream is cut, and both are counted; exit 0."""
    service = serve(TAILRACE_DRAIN_S="0.5")
    stream = Stream(service, tokens=200)
    provider.slow(ttft_s=60)
    responses: list[httpx2.Response] = []
    waiting = threading.Thread(target=lambda: responses.append(service.chat()))
    waiting.start()
    time.sleep(0.1)
    started = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    waiting.join()
    stream.join()
    assert service.process.wait(60) == 0
    assert time.monotonic() - started < 30
    assert (responses[0].status_code, responses[0].json()["error"]["code"]) == (503, "draining")
    assert not stream.whole
    assert service.rows("drained")[0]["cut"] == 2


def test_new_requests_do_not_prolong_the_drain(serve: StartService, provider: Simulator) -> None:
    """Callers that keep sending lose no request, and do not prolong the drain to its deadline."""
    provider.slow(ttft_s=0.05, token_s=0)
    service = serve(TAILRACE_DRAIN_S="60")
    statuses: list[int] = []

    def ask_on() -> None:
        while True:
            try:
                statuses.append(httpx2.post(f"{service.url}/v1/chat/completions", json=question()).status_code)
            except httpx2.ConnectError:
                return

    callers = [threading.Thread(target=ask_on) for _ in range(8)]
    for caller in callers:
        caller.start()
    assert until(lambda: len(statuses) >= len(callers), 60)
    started = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert time.monotonic() - started < 30
    for caller in callers:
        caller.join()
    assert set(statuses) == {200}
    assert service.rows("drained")[0]["cut"] == 0


def test_an_idle_service_exits_at_once(fresh: Service) -> None:
    """With nothing in flight, idle connections included, SIGTERM does not wait for the drain's deadline."""
    assert fresh.http.get("/healthz").status_code == 200
    started = time.monotonic()
    fresh.process.send_signal(signal.SIGTERM)
    assert fresh.process.wait(60) == 0
    assert time.monotonic() - started < 15


def test_a_second_signal_ends_it_at_once(serve: StartService) -> None:
    """The second SIGTERM ends the process although a stream is in flight, with an exit status that says so."""
    service = serve(TAILRACE_DRAIN_S="30")
    stream = Stream(service, tokens=200)
    service.process.send_signal(signal.SIGTERM)
    service.until("draining")
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 128 + signal.SIGTERM
    stream.join()
    assert not stream.whole
    assert service.rows("killed")
