"""Health checks turn red when the part that they watch is broken, and green again once it is repaired."""

import signal
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.integration.service.conftest import Service, Simulator, StartService


def parts(service: Service) -> tuple[int, dict[str, Any]]:
    response = service.http.get("/readyz")
    return response.status_code, response.json()["parts"]


def eventually(service: Service, status: int, timeout_s: float = 60.0) -> dict[str, Any]:
    """Wait until `/readyz` responses `status`, and return its parts."""
    deadline = time.monotonic() + timeout_s
    while (found := parts(service))[0] != status:
        assert time.monotonic() < deadline, f"/readyz stayed {found}"
        time.sleep(0.1)
    return found[1]


def test_a_scrape_runs_the_checks(serve: StartService, provider: Simulator) -> None:
    """The gauge is as fresh as the scrape, even if nobody probes `/readyz`: an alert may rely on it."""

    def gauge() -> str:
        text = service.http.get("/metrics").text
        return next(line for line in text.splitlines() if line.startswith("tailrace_ready "))

    service = serve()
    assert gauge() == "tailrace_ready 1.0"
    provider.break_with({"kind": "outage"})
    time.sleep(1.1)  # results are reused for a second
    assert gauge() == "tailrace_ready 0.0"
    provider.repair()
    time.sleep(1.1)
    assert gauge() == "tailrace_ready 1.0"


def test_a_healthy_service_is_live_and_ready(service: Service) -> None:
    """Live and ready are green, and ready names each part."""
    assert service.http.get("/healthz").json()["status"] == "live"
    status, found = parts(service)
    assert status == 200
    assert set(found) == {"provider", "cache", "drain"}
    assert all(part["ok"] and part["fact"] for part in found.values())


@pytest.mark.parametrize(
    ("fault", "fact"),
    [("outage", "GET /models answered 503"), (None, "connection refused")],
    ids=["unavailable", "gone"],
)
def test_a_provider_outage_turns_ready_red(
    serve: StartService, provider: Simulator, fault: str | None, fact: str
) -> None:
    """Ready is red while the provider is down, and green again after; live stays green."""
    if fault is None:
        service = serve(TAILRACE_PROVIDER_URL="http://127.0.0.1:9/v1")
        assert fact in eventually(service, 503)["provider"]["fact"]
        assert service.http.get("/healthz").status_code == 200
        return
    service = serve()
    eventually(service, 200)
    provider.break_with({"kind": fault})
    found = eventually(service, 503)
    assert not found["provider"]["ok"]
    assert fact in found["provider"]["fact"]
    assert found["cache"]["ok"]
    assert service.http.get("/healthz").status_code == 200
    provider.repair()
    eventually(service, 200)
    assert [row["event"] for row in service.rows() if "ready" in row["event"]] == ["ready", "not ready", "ready"]


def test_a_provider_that_hangs_turns_ready_red(serve: StartService, provider: Simulator) -> None:
    """A provider that accepts connections and does not answer is red after the timeout, and green again after."""
    service = serve(TAILRACE_READY_TIMEOUT_S="0.3")
    provider.process.send_signal(signal.SIGSTOP)
    try:
        found = eventually(service, 503)
        assert found["provider"]["fact"] == "no answer within 0.3 s"
    finally:
        provider.process.send_signal(signal.SIGCONT)
    eventually(service, 200)


class Refusing(BaseHTTPRequestHandler):
    """A provider that refuses every key."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("own_key", "status"), [(True, 503), (False, 200)])
def test_a_key_that_is_refused_turns_ready_red(serve: StartService, own_key: bool, status: int) -> None:
    """A service whose own key is refused is not ready; one without a key only has to reach the provider."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        thread = threading.Thread(target=refusing.serve_forever, args=(0.01,))
        thread.start()
        service = serve(own_key=own_key, TAILRACE_PROVIDER_URL=f"http://127.0.0.1:{refusing.server_port}/v1")
        found = eventually(service, status)["provider"]
        refusing.shutdown()
        thread.join()
    assert "GET /models answered 401" in found["fact"]
    assert ("key refused" in found["fact"]) is own_key


def test_a_locked_cache_turns_ready_red(serve: StartService, tmp_path: Path) -> None:
    """Ready is red while another process holds the cache file's lock, and green again after; requests go on."""
    path = tmp_path / "cache.db"
    service = serve(TAILRACE_CACHE=f"sqlite:{path}", TAILRACE_READY_TIMEOUT_S="0.4")
    eventually(service, 200)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        found = eventually(service, 503)
        assert not found["cache"]["ok"]
        assert found["provider"]["ok"]
        assert service.http.get("/healthz").status_code == 200
        assert service.chat().status_code == 200
    finally:
        holder.rollback()
        holder.close()
    eventually(service, 200)


def test_a_frozen_process_is_not_live(fresh: Service) -> None:
    """A process that stands still responses no probe; thawed, it is live again."""
    fresh.process.send_signal(signal.SIGSTOP)
    with pytest.raises(httpx2.TimeoutException):
        fresh.http.get("/healthz", timeout=0.3)
    fresh.process.send_signal(signal.SIGCONT)
    assert fresh.http.get("/healthz").status_code == 200


def test_concurrent_probers_cost_the_provider_one_request(service: Service, provider: Simulator) -> None:
    """Twenty probes at once run the check of the provider once; its result is reused for a second."""
    provider.admin("POST", "reset")

    def ask() -> None:
        httpx2.get(f"{service.url}/readyz")

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert provider.stats["by_path"]["/v1/models"] <= 2


def test_hits_are_served_during_an_outage(fresh: Service, provider: Simulator) -> None:
    """While the provider is down, cached responses are served, and other requests get a 503 with Retry-After."""
    warm = fresh.chat("known", temperature=0)
    provider.break_with({"kind": "outage"})
    for number in range(30):
        hit = fresh.chat("known", temperature=0)
        assert (hit.status_code, hit.content) == (200, warm.content)
        assert hit.headers["x-tailrace-cache"] == "hit"
        if number % 10 == 0:
            miss = fresh.chat(f"unknown {number}", temperature=0)
            assert miss.status_code == 503
            assert int(miss.headers["retry-after"]) >= 1
            assert set(miss.json()["error"]) == {"message", "type", "param", "code"}
    provider.repair()
    deadline = time.monotonic() + 60
    while fresh.chat("unknown", temperature=0).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_without_a_cache_an_outage_reaches_every_caller(serve: StartService, provider: Simulator) -> None:
    """The control: with the cache off, repeated requests fail as well."""
    service = serve(TAILRACE_CACHE="off")
    assert service.chat("known", temperature=0).status_code == 200
    provider.break_with({"kind": "outage"})
    assert service.chat("known", temperature=0).status_code == 503


def test_a_provider_that_is_gone_gives_a_503(serve: StartService) -> None:
    """With no listener at the provider's address: an OpenAI-shaped 503 with Retry-After."""
    service = serve(TAILRACE_PROVIDER_URL="http://127.0.0.1:9/v1")
    response = service.chat()
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "provider_unavailable"
    assert "retry-after" in response.headers


def test_a_provider_that_hangs_gives_a_504(serve: StartService, provider: Simulator) -> None:
    """Nothing comes within the deadline: a 504."""
    service = serve(TAILRACE_DEADLINE_S="0.5")
    provider.break_with({"kind": "hang"})
    response = service.chat()
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "provider_timeout"
