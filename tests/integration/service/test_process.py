"""The service as a process: its start, its log and its metrics."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.integration.service.conftest import Service, Simulator, StartService, ended, environment, launched, question

from tailrace.service.settings import TABLE

CANARY = "canary7391"


def start(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tailrace.service", *arguments]
    return subprocess.run(command, env=environment(**settings), capture_output=True, text=True, timeout=20, check=False)


def test_wrong_settings_are_reported() -> None:
    """Each wrong or unknown setting is one line on stderr, and the exit status is 3."""
    done = start(TAILRACE_PROVIDER_URL="http://x/v1", TAILRACE_DEADLINE_S="soon", TAILRACE_COLOR="blue")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "TAILRACE_COLOR: unknown setting; did you mean TAILRACE_COLOUR?",
        "TAILRACE_DEADLINE_S: found 'soon'; expected seconds, above 0 and at most 86400",
    ]


def test_a_port_that_is_taken_is_reported() -> None:
    """A port that is taken is one line on stderr, and the exit status is 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start("--port", str(port), TAILRACE_PROVIDER_URL="http://x/v1")
    assert done.returncode == 3
    assert done.stderr == f"127.0.0.1:{port}: cannot listen there: address already in use; choose another port\n"


def test_the_help_lists_every_setting() -> None:
    """`--help` names each setting."""
    text = start("--help").stdout
    assert all(setting.name in text for setting in TABLE)


def samples(service: Service) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(service.http.get("/metrics").text)
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_what_happened(serve: StartService, provider: Simulator) -> None:
    """A hit, a miss, a retried call and a stream are counted exactly."""
    service = serve(TAILRACE_SLO_MS="300,50")
    responses = [service.chat(temperature=0), service.chat(temperature=0)]
    provider.break_with({"kind": "error500", "count": 1})
    responses.append(service.chat("again"))
    responses.append(service.chat("stream", stream=True, stream_options={"include_usage": True}))
    usage = responses[0].json()["usage"], responses[2].json()["usage"]
    values = samples(service)
    name = "tailrace_request_duration_seconds_count"
    assert [values[name, f"outcome={outcome}"] for outcome in ("hit", "miss", "bypass", "error")] == [1, 1, 2, 0]
    assert ("tailrace_request_duration_seconds_bucket", "le=0.3", "outcome=hit") in values
    assert ("tailrace_request_duration_seconds_bucket", "le=0.0001", "outcome=hit") in values
    assert values[("tailrace_retries_total",)] == 1
    assert values[("tailrace_upstream_attempts_total",)] == 4
    assert values["tailrace_cache_lookups_total", "result=hit"] == 1
    assert values["tailrace_tokens_total", "kind=in"] > sum(one["prompt_tokens"] for one in usage)
    assert values["tailrace_tokens_total", "kind=out"] > sum(one["completion_tokens"] for one in usage)
    assert values[("tailrace_cost_usd_total",)] > 0
    assert values[("tailrace_saved_usd_total",)] > 0
    assert values[("tailrace_requests_in_flight",)] == 0
    assert values["tailrace_requests_total", "route=/v1/chat/completions", "status=200"] == 4
    assert any(key[0] == "tailrace_build_info" and "colour=blue" in key and "release=r1" in key for key in values)


def test_a_log_line_describes_its_request(service: Service) -> None:
    """Each request is one JSON line with its id, route, status, duration, cache, attempts, tokens and cost."""
    service.chat(temperature=0, headers={"x-request-id": "mine-1"})
    service.chat(stream=True)
    first, second = service.rows("request")
    assert {name: first[name] for name in ("request_id", "route", "status", "outcome", "cache", "attempts")} == {
        "request_id": "mine-1", "route": "/v1/chat/completions", "status": 200, "outcome": "miss", "cache": "miss",
        "attempts": 1,
    }  # fmt: skip
    assert first["duration_ms"] > 0
    assert first["in_tok"] > 0
    assert first["out_tok"] > 0
    assert first["cost_usd"] > 0
    assert first["level"] == "info"
    assert second["outcome"] == "bypass"


def test_no_content_is_logged(serve: StartService, provider: Simulator) -> None:
    """Canaries in prompts, keys, headers, paths and queries reach no log line and no metric, errors included."""
    service = serve(own_key=False, TAILRACE_DEADLINE_S="1", TAILRACE_RETRY_ATTEMPTS="2")
    key = "sk-" + CANARY + "k" * 20
    headers = {"authorization": f"Bearer {key}", "x-request-id": f"{key}", f"x-{CANARY}": CANARY, "cookie": CANARY}
    faults = [None, "rate_limit", "quota", "error500", "malformed", "reset", "hang", "cut_stream", "outage"]
    for fault in faults:
        provider.break_with(*([{"kind": fault}] if fault else []))
        for body in (question(CANARY, temperature=0), question(CANARY, stream=True), question(CANARY + "\x00")):
            with contextlib.suppress(httpx2.RemoteProtocolError):  # cut on purpose
                service.http.post(f"/v1/chat/completions?key={CANARY}", json={**body, "user": CANARY}, headers=headers)
        service.http.post("/ask", json={"prompt": CANARY, "config": {"temperature": CANARY}}, headers=headers)
        service.http.post("/ask", json={"prompt": CANARY, CANARY: 1}, headers=headers)
        service.http.post("/ask", json={"prompt": CANARY, "config": {"temperature": 0}}, headers=headers)
    service.http.get(f"/v1/files/{CANARY}", headers=headers)
    service.http.get(f"/{CANARY}", headers=headers)
    service.http.post("/v1/chat/completions", content=f"not json {CANARY}", headers=headers)
    service.http.post("/v1/chat/completions", json=question(CANARY, model=CANARY), headers=headers)
    provider.break_with({"kind": "hang"})
    with pytest.raises(httpx2.ReadTimeout):
        service.http.post("/v1/chat/completions", json=question(CANARY), headers=headers, timeout=0.2)
    metrics = service.http.get("/metrics").text
    service.process.terminate()
    service.process.wait(60)
    log = service.stderr.read_text()
    assert len(service.rows("request")) > 50
    assert {row["outcome"] for row in service.rows("request")} >= {"hit", "bypass", "error", "cancelled"}
    assert CANARY not in log
    assert CANARY not in metrics


def test_the_canary_would_be_seen(service: Service) -> None:
    """The control: a canary in the request's id is in the log."""
    service.chat(headers={"x-request-id": CANARY})
    assert CANARY in service.stderr.read_text() or CANARY in str(service.rows())


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_it_listens_only_where_that_is_said(host: str) -> None:
    """The service does not ask who calls: by default it is for this machine alone, and a message says what to do."""
    done = start("--host", host, "--port", "0", TAILRACE_PROVIDER_URL="http://x/v1")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"{host}:0: others than this machine's users reach that address")
    assert done.stderr.endswith("or say that it is meant: TAILRACE_OPEN=yes\n")


@pytest.mark.parametrize(("host", "settings"), [("0.0.0.0", {"TAILRACE_OPEN": "yes"}), ("localhost", {})])
def test_where_it_is_said_it_listens(tmp_path: Path, host: str, settings: dict[str, str]) -> None:
    """With the setting any address will do, and loopback needs none."""
    command = [sys.executable, "-m", "tailrace.service", "--host", host, "--port", "0"]
    process, _ = launched(command, environment(TAILRACE_PROVIDER_URL="http://x/v1", **settings), tmp_path / "stderr")
    ended(process)


@pytest.mark.parametrize("own_key", [True, False])
@pytest.mark.parametrize("anonymous", ["shared", "apart"])
def test_callers_without_a_credential_are_kept_apart_where_that_is_said(
    serve: StartService, provider: Simulator, anonymous: str, own_key: bool
) -> None:
    """Apart, nobody gets an answer that was given to another one; a caller with a credential gets his own again."""
    service = serve(TAILRACE_ANONYMOUS=anonymous, own_key=own_key)
    empty = {"cache-control": "max-age=100", "authorization": ""}
    labels = [service.chat(temperature=0, headers=h).headers["x-tailrace-cache"] for h in ({}, {}, empty, empty)]
    assert labels[1] == ("hit" if anonymous == "shared" else "bypass")
    assert ("bypass" not in labels) == (anonymous == "shared")
    known = {"authorization": "Bearer sk-someone"}
    assert [service.chat(temperature=0, headers=known).headers["x-tailrace-cache"] for _ in range(2)] == ["miss", "hit"]
    asked = [service.http.post("/ask", json={"prompt": "x", "config": {"temperature": 0}}) for _ in range(2)]
    assert asked[1].headers["x-tailrace-cache"] == ("hit" if anonymous == "shared" else "bypass")


def test_at_the_limit_new_requests_are_refused_and_health_is_answered(serve: StartService) -> None:
    """A further request gets a 503 with `Retry-After`, and those in flight their answers; then there is room again."""
    release = threading.Event()

    class Provider(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            release.wait(60)
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "2")
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as provider, ThreadPoolExecutor(3) as pool:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        service = serve(TAILRACE_PROVIDER_URL=f"http://127.0.0.1:{provider.server_port}/v1", TAILRACE_MAX_IN_FLIGHT="3")
        held = [pool.submit(service.chat, f"{n}") for n in range(3)]
        while samples(service)[("tailrace_requests_in_flight",)] < 3:
            time.sleep(0.02)
        refused = service.chat("one more")
        health = [service.http.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")]
        release.set()
        answers = [one.result().status_code for one in held]
        provider.shutdown()
        assert service.http.get("/healthz").status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert (health, answers) == ([200] * 3, [200] * 3)
