"""A simulated provider and real service processes in front of it."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx2
import pytest

StartService = Callable[..., "Service"]


def environment(**settings: str) -> dict[str, str]:
    """Return an environment with these settings, and from the tests' own only what is needed to find the code."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    return {**kept, **settings}


def launched(command: list[str], env: dict[str, str], stderr: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a process; return it with the URL on its first line."""
    with stderr.open("ab") as log:
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"listening on (http://\S+)", line)
    if found is None:
        ended(process)
        pytest.fail(f"{command} printed {line!r} and {stderr.read_text()!r}")
    return process, found[1]


def ended(process: subprocess.Popen[str]) -> None:
    """Kill a process, also if it is stopped or has already exited."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait(60)
    assert process.stdout is not None
    process.stdout.close()


@dataclass
class Simulator:
    """A running simulator, controlled by its admin path."""

    url: str
    process: subprocess.Popen[str]

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        return httpx2.request(method, f"{self.url}/admin/{path}", json=body).raise_for_status().json()

    def break_with(self, *faults: dict[str, Any]) -> None:
        self.admin("PUT", "faults", list(faults))

    def repair(self) -> None:
        self.admin("DELETE", "faults")

    def slow(self, **latency: float) -> None:
        self.admin("PUT", "latency", latency)

    @property
    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.admin("GET", "stats")
        return found

    def calls(self) -> int:
        """Return the number of requests, without those to list the models."""
        return sum(count for path, count in self.stats["by_path"].items() if path != "/v1/models")


@dataclass
class Service:
    """One running service."""

    url: str
    process: subprocess.Popen[str]
    stderr: Path
    http: httpx2.Client
    skip: int = 0
    """Number of log lines that earlier tests have caused."""

    def chat(self, content: str = "hello", **more: Any) -> httpx2.Response:
        headers = more.pop("headers", {})
        return self.http.post("/v1/chat/completions", json=question(content, **more), headers=headers)

    def rows(self, event: str = "") -> list[dict[str, Any]]:
        """Return the log's lines so far; fails unless each is JSON."""
        time.sleep(0.06)  # lines are written in batches
        rows = [json.loads(line) for line in self.stderr.read_text().splitlines()[self.skip :]]
        return [row for row in rows if not event or row["event"] == event]

    def until(self, event: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for an event in the log; return its latest line."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if rows := self.rows(event):
                return rows[-1]
        pytest.fail(f"no {event!r} within {timeout_s} s: {self.rows()}")


def question(content: str = "hello", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}], **more}


@pytest.fixture(scope="session")
def _simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    command = [sys.executable, "-m", "tailrace.simulator", "--port", "0", "--ttft-s", "0.005", "--token-s", "0"]
    process, url = launched(command, environment(), tmp_path_factory.mktemp("simulator") / "stderr")
    try:
        yield Simulator(url.removesuffix("/v1"), process)
    finally:
        ended(process)


@pytest.fixture
def provider(_simulator: Simulator) -> Simulator:
    """The simulator in its initial state: fast, without faults, counting from zero."""
    _simulator.admin("POST", "reset")
    return _simulator


@contextmanager
def running(provider: Simulator, stderr: Path, own_key: bool, settings: dict[str, str]) -> Iterator[Service]:
    """Run a service in front of `provider`."""
    key = {"OPENAI_API_KEY": "sk-" + "s" * 30} if own_key else {}
    base = {"TAILRACE_PROVIDER_URL": f"{provider.url}/v1", "TAILRACE_RELEASE": "r1", "TAILRACE_COLOUR": "blue"}
    command = [sys.executable, "-m", "tailrace.service", "--port", "0"]
    process, url = launched(command, environment(**{**base, **key, **settings}), stderr)
    try:
        with httpx2.Client(base_url=url, timeout=60) as http:
            yield Service(url, process, stderr, http)
    finally:
        ended(process)


@pytest.fixture
def serve(provider: Simulator, tmp_path: Path) -> Iterator[StartService]:
    """Start services with these settings; all are ended after the test."""
    numbers = count()
    with ExitStack() as stack:

        def start(*, own_key: bool = True, **settings: str) -> Service:
            return stack.enter_context(running(provider, tmp_path / f"stderr-{next(numbers)}", own_key, settings))

        yield start


@pytest.fixture
def fresh(serve: StartService) -> Service:
    """A service with default settings for this test alone."""
    return serve()


@pytest.fixture(scope="session")
def _shared(_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(_simulator, tmp_path_factory.mktemp("service") / "stderr", True, {}) as service:
        yield service


@pytest.fixture
def service(_shared: Service, provider: Simulator) -> Iterator[Service]:
    """A service with default settings that tests share; a credential keeps each test's cached responses apart."""
    _shared.skip = 0
    skip = len(_shared.rows())
    with httpx2.Client(
        base_url=_shared.url, timeout=60, headers={"authorization": f"Bearer {secrets.token_hex(8)}"}
    ) as http:
        yield replace(_shared, http=http, skip=skip)
