"""A deployment of a small foreign server, and a load that counts every answer."""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import pytest

import doors
from tailrace.deploy import Deployment, Release, faults
from tailrace.profile import Profile

SERVER = Path(__file__).parents[1] / "servers" / "misbehaving.py"
CONTROLLER = SERVER.with_name("controller.py")
RUN = ["python3", "/server.py", "--host", "{host}", "--port", "{port}"]
GOOD = """
LABEL org.opencontainers.image.revision=1 org.opencontainers.image.version=1 org.opencontainers.image.created=1
USER 65532:65532
HEALTHCHECK --interval=1s --timeout=1s --retries=1 CMD ["python3", "-c", \
"import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=0.5)"]
CMD ["python3", "/server.py", "--port", "8000"]
"""
QUICK = {
    "start_nice": 0, "start_timeout_s": 10, "ready_timeout_s": 10, "bake_s": 0.5, "settle_s": 0, "drain_timeout_s": 5,
    "stop_grace_s": 3, "warmup": {"min_requests": 10, "max_requests": 20},
    "gate": {"window_s": 0.4, "min_requests": 10},
}  # fmt: skip


class Load:
    """Sends requests at a steady rate whatever happens (open loop), from its own thread, and counts every answer."""

    def __init__(
        self, url: str, rate: float = 200, streams: float = 0.05, path: str = "/", timeout_s: float = 20
    ) -> None:
        self.url, self.rate, self.streams, self.path, self.timeout_s = url, rate, streams, path, timeout_s
        self.outcomes: Counter[str] = Counter()
        self.answers: list[tuple[int, str, str]] = []
        """When each was sent, how it ended, and which colour answered."""
        self.routed: list[tuple[int, int]] = []
        """When each was sent, and by which generation of the routes it was answered."""
        self._stop, self._steady = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    @property
    def sent(self) -> int:
        return self.outcomes.total()

    @property
    def failed(self) -> int:
        return self.sent - self.outcomes["200"]

    def __enter__(self) -> Self:
        self._thread.start()
        if self.streams and self.path == "/":
            # Before a stream has ended the gate would take the first ones for a change.
            self._steady.wait(20)
        return self

    def stop(self) -> None:
        """Send no more requests; those in flight go on to their end."""
        self._stop.set()

    def __exit__(self, *raised: object) -> None:
        self.stop()
        self._thread.join()

    async def _run(self) -> None:
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(self.timeout_s)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            tasks, begun = [], time.perf_counter()
            while not self._stop.is_set():
                stream = self.streams and len(tasks) % round(1 / self.streams) == 0
                tasks.append(asyncio.create_task(self._ask(session, "/stream?s=0.3" if stream else self.path)))
                await asyncio.sleep(max(0, begun + len(tasks) / self.rate - time.perf_counter()))
            await asyncio.gather(*tasks)

    async def _ask(self, session: aiohttp.ClientSession, path: str) -> None:
        colour, outcome, sent_ns = "", "", time.perf_counter_ns()
        try:
            async with session.get(self.url + path) as response:
                colour, outcome = response.headers.get("x-colour", ""), str(response.status)
                self.routed.append((sent_ns, int(response.headers.get("x-generation", 0))))
                body = await response.read()
                if path.startswith("/stream") and outcome == "200" and not body.endswith(b"data: [DONE]\n\n"):
                    outcome = "cut"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
        self.outcomes[outcome] += 1
        self.answers.append((sent_ns, outcome, colour))
        if path.startswith("/stream"):
            self._steady.set()


class QuickUp(Deployment):
    """A deployment whose first release bakes for a second at most: it is where a test begins, and not what it tests."""

    def up(self, *arguments: Any, **options: Any) -> None:
        rollout = self.profile.rollout
        short = rollout.model_copy(update={"bake_s": min(rollout.bake_s, 1.0)})
        quick = dataclasses.replace(self, profile=self.profile.model_copy(update={"rollout": short}))
        Deployment.up(quick, *arguments, **options)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Open a deployment of the misbehaving server; options of its profile's rollout may be given."""
    opened: list[Deployment] = []

    def make(
        smoke: tuple[dict[str, Any], ...] = ({"path": "/"}, {"path": "/stream?s=0.1", "stream": True}),
        slo: dict[str, Any] | None = None,
        edge: dict[str, Any] | None = None,
        **rollout: Any,
    ) -> Deployment:
        command = [sys.executable, str(SERVER), "--host", "{host}", "--port", "{port}"]
        service = {"command": command, "warmup": [{"path": "/"}], "smoke": smoke, "metrics": "/metrics"}
        profile = Profile.model_validate(
            {"name": "test", "service": service, "rollout": {**QUICK, **rollout}, "slo": slo or {}, "edge": edge or {}}
        )
        opened.append(QuickUp.open(profile, tmp_path))
        return opened[-1]

    yield make
    for one in opened:
        with contextlib.suppress(Exception):
            one.down()
    # If anything is left now, the code under test left it, not the test.
    assert not [name for one in opened for name in one.abandoned()]


@pytest.fixture
def release() -> Callable[..., Release]:
    """Return the release of a deployment with options for the server, as `ready_after_s=60`."""

    def make(deployment: Deployment, **options: object) -> Release:
        built = deployment.build(SERVER.parent)
        extra = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        return built.configured([*built.command, *extra])

    return make


@pytest.fixture
def killed() -> Callable[..., None]:
    """Run a command on a deployment in another process, and kill that process at a fault point."""

    def run(deployment: Deployment, release: Release, point: str, verb: str = "switch") -> None:
        arguments = [deployment.profile.model_dump_json(by_alias=True), verb, json.dumps(release.document())]
        command = [sys.executable, CONTROLLER, deployment.folder.parent, *arguments]
        environment = {**os.environ, faults.VARIABLE: point}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done

    return run


@pytest.fixture(scope="session")
def client():
    from tailrace.deploy.images import dockerd

    client = dockerd.connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def base(client, root):
    """A base image, from the cache of the project, or made (a minute)."""
    from tailrace.deploy.images import base_image

    return base_image.ensure(client, root / ".tailrace" / "images")


@pytest.fixture(scope="session")
def image(client, base, tmp_path_factory):
    """Build an image of the misbehaving server, with more lines in its Dockerfile; return its id."""
    from docker.errors import APIError

    built_ids = []
    ours = f"LABEL session={uuid.uuid4().hex}"  # else two sessions on one engine have, and remove, the same image

    def make(lines: str = "") -> str:
        folder = tmp_path_factory.mktemp("context")
        (folder / "server.py").write_bytes(SERVER.read_bytes())
        (folder / "Dockerfile").write_text(f"FROM {base}\nCOPY server.py /server.py\n{ours}\n{GOOD}{lines}\n")
        built, _ = client.images.build(path=str(folder), rm=True, forcerm=True, network_mode="none")
        built_ids.append(built.id)
        return built.id

    yield make
    for one in reversed(dict.fromkeys(built_ids)):
        with contextlib.suppress(APIError):  # removing an image also removes those built from it
            client.images.remove(one, force=True)


@pytest.fixture
def foreign(tmp_path, root, image):
    """A deployment of that server: nothing of ours is in it."""
    opened = []

    def make(**rollout):
        rollout = {
            "bake_s": 0.5,
            "settle_s": 0,
            "warmup": {"min_requests": 2, "max_requests": 4},
            "drain_timeout_s": 5,
        } | rollout
        service = {"image": image(), "command": RUN, "smoke": [{"path": "/stream?s=0.1", "stream": True}]}
        name = f"test-{uuid.uuid4().hex[:8]}"  # an engine is shared by all sessions of tests on the machine
        profile = Profile.model_validate({"name": name, "engine": "docker", "service": service, "rollout": rollout})
        d = QuickUp.open(profile, tmp_path)
        opened.append(dataclasses.replace(d, engine=dataclasses.replace(d.engine, source=root)))
        return opened[-1]

    yield make
    for one in opened:
        one.down()
        one.engine.client.close()
        assert one.abandoned() == []


@pytest.fixture
def source(root: Path, tmp_path: Path) -> Path:
    """Return a copy of what a release is built from: it holds still while somebody works on the project."""
    copy = tmp_path / "source"
    shutil.copytree(root / "lib", copy / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "Dockerfile",
        "requirements.lock",
        "requirements-service.lock",
    ):
        shutil.copy(root / name, copy / name)
    return copy


@pytest.fixture
def load() -> type[Load]:
    return Load


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write the matrix of faults for the operator when TAILRACE_FAULT_MATRIX names a file for it."""
    if path := os.environ.get("TAILRACE_FAULT_MATRIX"):
        reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, []) if r.when == "call"]
        rows = [dict(r.user_properties) | {"passed": r.passed} for r in reports]
        Path(path).write_text(matrix([row for row in rows if "fault" in row]), encoding="utf-8")

    if path := os.environ.get("TAILRACE_EDGE_TABLE"):
        reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, []) if r.when == "call"]
        passed = [value for r in reports for name, value in r.user_properties if name == "edge table"]
        page = Path(path)
        before, _, _ = page.read_text(encoding="utf-8").partition(doors.TABLE)
        page.write_text(before + doors.table(passed), encoding="utf-8")


def matrix(rows: list[dict[str, Any]]) -> str:
    """Return the table: one row per fault, with how often it was injected, and how often it ended as stated."""
    lines = [
        "# Faults: what happens, and what to do",
        "",
        "Generated from the results of `tests/integration/deploy`, which inject each fault under load:",
        "`TAILRACE_FAULT_MATRIX=runbook/procedures/faults.md make test-all ARGS=tests/integration/deploy`.",
        "",
        "| fault | traffic is on | what you see | what you do | held |",
        "|---|---|---|---|---|",
    ]
    for fault in dict.fromkeys(row["fault"] for row in rows):
        same = [row for row in rows if row["fault"] == fault]
        cells = [fault, *(same[0][name] for name in ("traffic", "seen", "do"))]
        lines.append(f"| {' | '.join(cells)} | {sum(row['passed'] for row in same)} of {len(same)} |")
    return "\n".join(lines) + "\n"


@pytest.fixture(autouse=True)
def _in_the_matrix(request: pytest.FixtureRequest) -> None:
    """Record the row of the matrix that a test marked `fault` stands for."""
    if marker := request.node.get_closest_marker("fault"):
        for name, text in zip(("fault", "traffic", "seen", "do"), marker.args, strict=True):
            request.node.user_properties.append((name, text))
