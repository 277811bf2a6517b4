"""The model API behind the service: a real one, or the simulator, which can be broken on purpose."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson

from tailrace import profile
from tailrace.deploy import processes
from tailrace.errors import StartFailed, TailraceError

_ANNOUNCED = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True)
class Provider:
    """A provider that was brought up or that is simply there."""

    url: str
    """Base of the OpenAI-compatible API, with its `/v1`."""
    process: processes.Process | None = None
    """The simulator's process; None for a real provider."""

    @property
    def simulated(self) -> bool:
        return self.process is not None

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
        if self.process is None:
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
    return Provider(wanted.base_url)


def simulator(wanted: profile.Simulator, folder: Path, name: str, timeout_s: float = 15.0) -> Provider:
    """Return the running simulator `name` of `folder`, started if it is not alive.

    Raises StartFailed when it ends or does not listen within `timeout_s`.
    """
    process = next((p for p in processes.recorded(folder) if p.name == name and p.alive), None)
    if process is None:
        (folder / f"{name}.log").unlink(missing_ok=True)  # its first line is to be this process's address
        process = processes.spawn(_command(wanted), environment={}, folder=folder, name=name)
    return Provider(_address(process, timeout_s), process)


def _command(wanted: profile.Simulator) -> list[str]:
    options = wanted.model_dump()
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "tailrace.simulator", "--host", "127.0.0.1", "--port", "0", *flags]


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
