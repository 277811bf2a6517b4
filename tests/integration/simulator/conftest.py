"""A simulator as a process of its own, and the real SDK, synchronous and asynchronous."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

FAST = ("--ttft-s", "0", "--token-s", "0")


@dataclass(frozen=True)
class Simulator:
    """A running simulator."""

    process: subprocess.Popen
    url: str
    log: Path
    http: httpx2.Client

    @property
    def base(self) -> str:
        return self.url.removesuffix("/v1")

    @property
    def port(self) -> int:
        return int(self.base.rpartition(":")[2])

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.http.request(method, f"{self.base}/admin/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def faults(self, *faults: dict[str, Any]) -> None:
        self.admin("PUT", "faults", list(faults))

    def until_in_flight(self, count: int, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while (found := self.admin("GET", "stats")["in_flight"]) != count:
            assert time.monotonic() < deadline, f"{found} requests in flight, not {count}, after {within_s} s"
            time.sleep(0.01)

    def accesses(self) -> list[dict[str, Any]]:
        """Return the lines of the access log; it is sure to be complete once the process has exited."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def simulated(folder: Path, *options: str) -> Iterator[Simulator]:
    """Run `python -m tailrace.simulator` on a free port; end it with SIGTERM, and expect exit status 0."""
    log = folder / "access.jsonl"
    command = [sys.executable, "-m", "tailrace.simulator", "--log", str(log), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, httpx2.Client() as http:
        try:
            line = process.stdout.readline()
            assert line.startswith("simulator listening on http://127.0.0.1:"), line
            yield Simulator(process, line.split()[-1], log, http)
        finally:
            process.terminate()
            status = process.wait(60)
    assert status == 0


@pytest.fixture(scope="session")
def start():
    """The context manager that runs a simulator."""
    return simulated


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One simulator without latency, for all tests of a file."""
    with simulated(tmp_path_factory.mktemp("simulator"), *FAST) as simulator:
        yield simulator


@pytest.fixture
def simulator(running: Simulator) -> Iterator[Simulator]:
    """The simulator of the file, without faults and counts."""
    running.admin("POST", "reset")
    yield running
    running.admin("POST", "reset")


class Asker:
    """Makes a test's call with an SDK client, synchronous or asynchronous; returns streams as lists."""

    def __init__(self, form: str, url: str) -> None:
        self.form, self.options = form, {"base_url": url, "api_key": "test", "max_retries": 0, "timeout": 5.0}

    def __call__(self, call, **options):
        return asyncio.run(self._async(call, options)) if self.form == "async" else self._sync(call, options)

    def _sync(self, call, options):
        with openai.OpenAI(**{**self.options, **options}) as client:
            answer = call(client)
            return list(answer) if isinstance(answer, openai.Stream) else answer

    async def _async(self, call, options):
        async with openai.AsyncOpenAI(**{**self.options, **options}) as client:
            answer = await call(client)
            return [event async for event in answer] if isinstance(answer, openai.AsyncStream) else answer


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, simulator: Simulator) -> Asker:
    """The SDK, pointed at the simulator: every test that uses it runs in both forms."""
    return Asker(request.param, simulator.url)
