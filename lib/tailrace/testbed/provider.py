"""The model API behind the service: a real one, or the simulator, which can be broken on purpose.

The simulator is a process of this machine, or, where instances are containers, one of them: they find it in their
network, and we by a port that is published on loopback.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson

from tailrace import profile
from tailrace.deploy.engines import Slot
from tailrace.errors import StartFailed, TailraceError
from tailrace.host import processes, waiting

if TYPE_CHECKING:
    from tailrace.deploy.engines.docker.engine import DockerEngine

_ANNOUNCED = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True)
class Provider:
    """A provider that was brought up or that is simply there."""

    url: str
    """Base of the OpenAI-compatible API, with its `/v1`, as this machine finds it."""
    internal_url: str
    """The same, as an instance finds it."""
    simulated: bool = False

    @contextmanager
    def broken(self, *faults: Mapping[str, Any]) -> Iterator[None]:
        """Hold the provider in these faults (`{"kind": "outage"}` …) for the length of the block."""
        self.inject(*faults)
        try:
            yield
        finally:
            self.repair()

    def inject(self, *faults: Mapping[str, Any]) -> None:
        """Replace the scripted faults by these; see `tailrace simulate --help` for the kinds."""
        self._admin("PUT", "/admin/faults", list(faults))

    def repair(self) -> None:
        """Take all faults back."""
        self._admin("DELETE", "/admin/faults")

    def slow_down(self, **latency: float) -> None:
        """Change the latency model while it runs: ttft_s, ttft_sigma, token_s, token_sigma."""
        self._admin("PUT", "/admin/latency", latency)

    def stats(self) -> dict[str, Any]:
        """Return what the provider itself counted: requests, by_path, by_status, faults, in_flight."""
        answer: dict[str, Any] = self._admin("GET", "/admin/stats")
        return answer

    def _admin(self, method: str, path: str, body: object = None) -> Any:
        if not self.simulated:
            raise TailraceError(f"provider {self.url} is a real one: only the simulator can be broken or asked")
        url = self.url.removesuffix("/v1") + path
        data = None if body is None else orjson.dumps(body)
        request = Request(url, data=data, method=method, headers={"content-type": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=5) as answer:  # noqa: S310 — an http URL on loopback that we made
                return orjson.loads(answer.read() or b"null")
        except HTTPError as error:
            said = error.read().decode(errors="replace")
            raise TailraceError(f"simulator {url}: {method} {path} answered {error.code}: {said}") from None


def real(wanted: profile.Provider) -> Provider:
    """Return the provider that the profile names by URL."""
    return Provider(wanted.base_url, wanted.base_url)


def process(wanted: profile.Simulator, folder: Path, name: str, timeout_s: float = 15.0) -> Provider:
    """Return the running simulator `name` of `folder`, started if it is not alive.

    Raises StartFailed when it ends or does not listen within `timeout_s`.
    """
    running = next((p for p in processes.recorded(folder) if p.name == name and p.alive), None)
    if running is None:
        (folder / f"{name}.log").unlink(missing_ok=True)  # its first line is to be this process's address
        command = [sys.executable, *_command(wanted, "--host", "127.0.0.1", "--port", "0")]
        running = processes.spawn(command, environment={}, folder=folder, name=name)
    url = _address(running, timeout_s)
    return Provider(url, url, simulated=True)


def container(
    wanted: profile.Simulator, engine: DockerEngine, deployment: str, name: str, root: Path, timeout_s: float = 15.0
) -> Provider:
    """Return the running simulator `name` beside the instances of `deployment`, started if it is not there.

    It is run from the image of tailrace's own service, built from the project at `root`: the wheel in it holds the
    simulator. Its admin path answers to this machine (the gateway of the network), and to no instance. Raises
    StartFailed when it does not answer within `timeout_s`.
    """
    image = engine.build(profile.Service(), root)
    command = ["python", *_command(wanted, "--host", "{host}", "--port", "{port}", "--admin-from", "{gateway}")]
    beside = engine.beside(name, image, Slot(deployment, "", 0), command)
    provider = Provider(f"{beside.url}/v1", f"{beside.address.url}/v1", simulated=True)
    if not waiting.until(lambda: _answers(provider) or not engine.alive(beside), timeout_s, every_s=0.05):
        raise StartFailed(f"simulator {name} does not answer at {provider.url} after {timeout_s:g} s")
    if not engine.alive(beside):
        raise StartFailed(f"simulator {name} ended at once; its log says: {engine.log(beside).strip() or 'nothing'}")
    return provider


def _command(wanted: profile.Simulator, *place: str) -> list[str]:
    options = wanted.model_dump()
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    return ["-m", "tailrace.simulator", *place, *flags]


def _answers(provider: Provider) -> bool:
    try:
        provider.stats()
    except OSError:
        return False
    return True


def _address(process: processes.Process, timeout_s: float) -> str:
    """Wait for the line with which the simulator says where it listens."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        said = process.log.read_text(errors="replace") if process.log.exists() else ""
        if found := _ANNOUNCED.search(said):
            return found[1]
        if not processes.alive(process):
            raise StartFailed(
                f"simulator {process.name} ended at once; its log says: {said[-500:].strip() or 'nothing'}"
            )
        time.sleep(0.02)
    raise StartFailed(f"simulator {process.name} does not listen after {timeout_s:g} s; see {process.log}")
