"""A service that is not ours, with a key and a provider, goes through the whole runbook; its key stays at home."""

import base64
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from depth import scaled

GATEWAY = Path(__file__).parents[1] / "servers" / "gateway.py"
KEY = "canary-" + "pearl-7531"
SERVICE = {
    "command": [sys.executable, str(GATEWAY), "{host}", "{port}"],
    "api": "openai",
    "headers": {"authorization": "Bearer ${GATEWAY_KEY}"},
    "secrets": ["GATEWAY_KEY"],
    "provider_env": {"base_url": "UPSTREAM_URL"},
    "health": {"live": "/health", "ready": "/ready", "startup": "/health"},
    "warmup": [],
}
ROLLOUT = {"bake_s": scaled(2.0, 1.0), "warmup": {"min_requests": 0, "max_requests": 0}}
GATE = {"max_latency_ratio": 100}
SLO = {"error_rate": 0.05, "latency_ms": {"p50": 8_000, "p95": 9_000, "p99": 10_000}}
STEPS = {
    "02_verify_health": {"calm_s": 0.2, "outage_s": 0.5, "hang_s": 0.3, "slow_start_s": 0.5},
    "03_blue_green_switch": {
        "rate_rps": 60, "stream_share": 0.4, "head_start_s": 0.5, "tail_s": 0.5, "beside_s": 2.0,
        "rollback_within_s": 60,
    },
    "04_load_test": {
        "rate_rps": 30, "duration_s": 2.0, "faulty": [0.1, 0.1, 0.0], "search_rps": [40, 40], "attempt_timeout_s": 5,
    },
}  # fmt: skip


def found(folder: Path, value: str) -> list[str]:
    """Return the files below `folder` that hold `value`, as it is or in base64."""
    forms = [value.encode(), base64.b64encode(value.encode()).rstrip(b"=")[:-1]]
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [str(file) for file in files if any(form in file.read_bytes() for form in forms)]


@contextlib.contextmanager
def watched_arguments(value: str) -> Iterator[list[str]]:
    """Look at the arguments of all processes while the block runs; yield those that held `value`."""
    seen: list[str] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.2):
            for process in psutil.process_iter(["cmdline"]):
                seen.extend(word for word in process.info["cmdline"] or [] if value in word)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def keyed(project, monkeypatch):
    """The project, where the key is in the environment."""
    monkeypatch.setenv("GATEWAY_KEY", KEY)
    return project


@pytest.mark.alone
def test_a_service_with_a_key_and_a_provider_goes_through_the_whole_runbook(keyed):
    """Its streams are counted, its outage and retries are tested on it, what it lacks is left out; no key is kept."""
    keyed.profile("gateway", service=SERVICE, rollout={**ROLLOUT, "gate": GATE}, steps=STEPS, slo=SLO)
    with watched_arguments(KEY) as seen:
        status, output = keyed.run("run", "--profile", "gateway")
    health, switch, client, report = (keyed.states(step) for step in (
        "02_verify_health", "03_blue_green_switch", "04_load_test", "05_latency_report",
    ))  # fmt: skip
    assert status in (0, 2), output  # 2: a busy machine
    assert health["provider outage: live stays green"] == "PASS"
    assert health["provider outage: fresh is green again afterwards"] == "PASS"
    assert (switch["no request failed"], switch["no stream was cut"]) == ("PASS", "PASS")
    assert client["client and edge counted the same"] == "PASS"
    assert (client["as a caller: retries are bounded"], client["retries are bounded"]) == ("PASS", "PASS")
    assert (client["the cache is correct"], client["bad input is refused"]) == ("SKIPPED", "SKIPPED")
    retried = next(check for check in keyed.result("04_load_test")["checks"] if check["name"] == "retries are bounded")
    assert retried["fact"].startswith("2.0 requests to the provider for each of 10")
    lines = {line["name"]: line["state"] for line in keyed.result("05_latency_report")["checklist"]}
    assert lines["A provider outage does not take the service down"] == lines["Retries are bounded"] == "PASS"
    assert lines["A switch cuts no stream"] == "PASS"
    assert lines["The cache answers only its own question"] == lines["Input is validated"] == "SKIPPED"
    assert report["no credential in the artefacts"] == "PASS"
    assert (found(keyed.root / "runs", KEY), found(keyed.root / ".tailrace", KEY), seen) == ([], [], [])


def test_a_key_that_a_file_or_an_argument_holds_is_found(tmp_path):
    """The searches above can fail: in plain, in base64, and in the arguments of a process."""
    (tmp_path / "plain").write_text(f"key {KEY}.")
    (tmp_path / "basic").write_bytes(base64.b64encode(f"{KEY}".encode()))
    (tmp_path / "other").write_text("canary")
    assert sorted(Path(file).name for file in found(tmp_path, KEY)) == ["basic", "plain"]
    with watched_arguments(KEY) as seen, psutil.Popen([sys.executable, "-c", "input()", KEY], stdin=-1) as process:
        while not seen:
            assert process.poll() is None
        process.kill()
    assert set(seen) == {KEY}


@pytest.mark.parametrize(
    ("headers", "advice"),
    [
        ({}, "add to the profile: service: {headers: {authorization: 'Bearer ${NAME}'}}, and export NAME"),
        ({"authorization": "Bearer ${WRONG_KEY}"}, "It got the value of WRONG_KEY: is it a key of this service?"),
    ],
)
def test_without_the_right_key_the_smoke_test_says_401_and_what_to_write(keyed, monkeypatch, headers, advice):
    """Traffic is not touched, and no message holds a key, not even one that the service repeats."""
    monkeypatch.setenv("WRONG_KEY", "wrong-pearl-7531")
    health = {"live": "/health", "ready": "/health", "startup": "/health"}
    keyed.profile("gateway", service=SERVICE | {"headers": headers, "health": health}, rollout=ROLLOUT)
    status, output = keyed.run("deploy", "--profile", "gateway")
    assert status == 1
    assert "failed smoke test 1 of 2, POST /v1/chat/completions: 401" in output
    assert advice in output
    assert "Traffic was not touched" in output
    assert "wrong-pearl-7531" not in output
    keyed.run("down", "--profile", "gateway")
    assert found(keyed.root / ".tailrace", "wrong-pearl-7531") == []


def test_a_live_path_that_wants_a_key_is_refused(keyed):
    """The edge would have to write the key into its file, so it asks without one; the message says what to do."""
    closed = {**SERVICE, "command": [*SERVICE["command"], "--closed"]}
    keyed.profile("gateway", service=closed, rollout=ROLLOUT)
    status, output = keyed.run("deploy", "--profile", "gateway")
    assert status == 1
    assert "live path /health without a key answered 401" in output
    assert "Let service.health.live name a path that needs no key" in output
    keyed.run("down", "--profile", "gateway")


def test_with_the_key_it_is_deployed_and_its_status_is_known(keyed):
    """The same profile with the header passes every gate; `status` asks with the header, too."""
    keyed.profile("gateway", service=SERVICE, rollout=ROLLOUT)
    status, output = keyed.run("deploy", "--profile", "gateway")
    assert status == 0, output
    _, document = keyed.run("status", "--profile", "gateway", "--json")
    (slot,) = json.loads(document)["slots"]
    assert (slot["live"], slot["ready"], slot["healthy"]) == (True, True, True)
    assert keyed.run("down", "--profile", "gateway")[0] == 0
    assert found(keyed.root / ".tailrace", KEY) == []
    assert os.environ["GATEWAY_KEY"] == KEY
