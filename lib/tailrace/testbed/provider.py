"""The model API behind the service: a real one, or the simulator, which can be broken on purpose.

The engine of the deployment runs the simulator beside the instances, which may reach it at another address than we.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson

from tailrace import profile
from tailrace.deploy.engines import Engine
from tailrace.errors import StartFailed, TailraceError
from tailrace.host import waiting


@dataclass(frozen=True)
class Provider:
    """A provider: a simulator that we started, or a real API."""

    url: str
    """Base URL of the OpenAI-compatible API, with its `/v1`, for this machine."""
    internal_url: str
    """The same for an instance."""
    simulated: bool = False

    @contextmanager
    def broken(self, *faults: Mapping[str, Any]) -> Iterator[None]:
        """Inject these faults (`{"kind": "outage"}` …) for the length of the block."""
        self.inject(*faults)
        try:
            yield
        finally:
            self.repair()

    def inject(self, *faults: Mapping[str, Any]) -> None:
        """Replace the scripted faults; `tailrace simulate --help` lists the kinds."""
        self._admin("PUT", "/admin/faults", list(faults))

    def repair(self) -> None:
        """Remove all faults."""
        self._admin("DELETE", "/admin/faults")

    def slow_down(self, **latency: float) -> None:
        """Change the latency model while it runs: ttft_s, ttft_sigma, token_s, token_sigma."""
        self._admin("PUT", "/admin/latency", latency)

    def stats(self) -> dict[str, Any]:
        """Return the provider's own counts: requests, by_path, by_status, faults, in_flight."""
        stats: dict[str, Any] = self._admin("GET", "/admin/stats")
        return stats

    def _admin(self, method: str, path: str, body: object = None) -> Any:
        if not self.simulated:
            raise TailraceError(f"provider {self.url} is a real one; only the simulator has faults and counts")
        url = self.url.removesuffix("/v1") + path
        data = None if body is None else orjson.dumps(body)
        request = Request(url, data=data, method=method, headers={"content-type": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=5) as response:  # noqa: S310 — an http URL on loopback that we made
                return orjson.loads(response.read() or b"null")
        except HTTPError as error:
            reason = error.read().decode(errors="replace")
            raise TailraceError(f"simulator {url}: {method} {path} answered {error.code}: {reason}") from None


def real(settings: profile.ProviderSettings) -> Provider:
    """Return the provider that the profile names by URL."""
    return Provider(settings.base_url, settings.base_url)


def simulated(
    settings: profile.Simulator, engine: Engine, deployment: str, name: str, timeout_s: float = 15.0
) -> Provider:
    """Return the running simulator `name` beside the instances of `deployment`, started if it does not run.

    Its admin path answers to this machine only. Raises StartFailed when it ends, or does not answer within
    `timeout_s`.
    """
    beside = engine.run_beside(deployment, name, _command(settings))
    provider = Provider(f"{beside.url}/v1", f"{beside.address.url}/v1", simulated=True)
    if not waiting.until(lambda: _answers(provider) or not engine.alive(beside), timeout_s, every_s=0.02):
        raise StartFailed(f"simulator {name} does not answer at {provider.url} after {timeout_s:g} s")
    if not engine.alive(beside):
        raise StartFailed(f"simulator {name} ended at once; its log says: {engine.log(beside)}")
    return provider


def _command(settings: profile.Simulator) -> list[str]:
    flags: list[str] = []
    for key, value in settings.model_dump(exclude_defaults=True).items():
        name = f"--{key.replace('_', '-')}"
        flags += [name] if value is True else [name, str(value)]
    address = ["--host", "{host}", "--port", "{port}", "--admin-from", "{gateway}"]
    return ["{python}", "-m", "tailrace.simulator", *address, *flags]


def _answers(provider: Provider) -> bool:
    try:
        provider.stats()
    except OSError:
        return False
    return True
