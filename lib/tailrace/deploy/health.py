"""Probes of an instance's health: one request, one with an expected answer, and a sampler in the background."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Self

from tailrace import profile, request_headers
from tailrace.deploy.edge import CHECK_TIMEOUT_S, Edge
from tailrace.deploy.engines import Instance
from tailrace.errors import PartMissing
from tailrace.host.http import FAILURES, Answer, exchange

Targets = Mapping[str, tuple[str, str | profile.Probe]]
"""Base URL and path, or whole request, of each probe, by its name."""
HEALTH = profile.Health()
EXCERPT = 120
"""Characters of a wrong answer that a fact shows."""
EXCERPT_OF = 8192
"""Bytes of a wrong answer that are read for it: a secret that was cut at their end could not be recognised."""


@dataclass(frozen=True)
class Observation:
    """The result of one probe: `fact` is what decided `ok`; `status` is 0 when nothing answered."""

    t_ns: int
    kind: str
    ok: bool
    status: int
    fact: str
    duration_s: float = 0.0
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Target:
    """An instance as its health checks reach it, and how its release shows that it may serve."""

    url: str
    asked: profile.Acceptance

    @classmethod
    def of(cls, instance: Instance, asked: profile.Acceptance, edge: Edge) -> Target:
        """Return `instance` at its own address, or behind the edge's preview where it does not speak HTTP/1.1."""
        return cls(instance.url if asked.protocol == "http1" else edge.preview_url(instance.colour), asked)

    def check(self, path: str, timeout_s: float = 1.0, kind: str = "probe") -> Observation:
        """Request one path of the health checks, with the headers of the service. Raises nothing, as `probe`."""
        headers = {**self.asked.headers, **self.asked.health.headers}
        request = profile.Probe(path=path, headers=headers)
        return perform(self.url, request, timeout_s, kind, self.asked.health)


def probe(
    base_url: str,
    path: str = "/",
    timeout_s: float = 1.0,
    kind: str = "probe",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Observation:
    """Request `path` once: 2xx is ok, everything else is not. Raises nothing, whatever the server does."""
    return perform(base_url, profile.Probe(path=path, headers=dict(headers)), timeout_s, kind, HEALTH)


def as_the_edge(edge: Edge, instance: Instance, asked: profile.Acceptance) -> Observation:
    """Send the health check of the edge once, by the way of the edge: what it gets, the edge's own check gets, too.

    Envoy says of a failed check no more than that it failed.
    """
    headers = {"host": instance.upstream(asked).host, "user-agent": "Envoy/HC"}
    request = profile.Probe(path=asked.health.live, headers=headers)
    return perform(edge.preview_url(instance.colour), request, CHECK_TIMEOUT_S, "edge", asked.health)


def perform(
    base_url: str,
    request: profile.Probe,
    timeout_s: float = 10.0,
    kind: str = "probe",
    checks: profile.Health | None = None,
) -> Observation:
    """Send `request` once and compare the answer with what the request, or its `checks`, expect. Raises nothing.

    Its headers are filled in here; the fact holds none of their secrets, even when the answer repeats one.
    """
    started_ns = time.perf_counter_ns()
    body, headers = None, {}
    if request.json_body is not None:
        body, headers = json.dumps(request.json_body).encode(), {"content-type": "application/json"}
    try:
        headers |= request_headers.filled(request.headers)
    except PartMissing as error:
        return Observation(started_ns, kind, False, 0, f"not sent: {error}")
    try:
        answer = exchange(base_url + request.path, request.method, body, headers, timeout_s)
    except FAILURES as error:
        spent_s = (time.perf_counter_ns() - started_ns) / 1e9
        return Observation(started_ns, kind, False, 0, f"no answer: {_named(error)} after {spent_s:.2f} s", spent_s)
    mismatch = _mismatch(answer, request, checks)
    fact = mismatch or f"{answer.status} in {answer.duration_s * 1e3:.0f} ms"
    return Observation(started_ns, kind, not mismatch, answer.status, fact, answer.duration_s, answer.headers)


def _mismatch(answer: Answer, request: profile.Probe, checks: profile.Health | None) -> str:
    as_expected = checks.accepts(answer.status) if checks else answer.status == request.status
    if not as_expected:
        text = request_headers.redacted(answer.body[:EXCERPT_OF].decode("utf-8", "replace"), request.headers)
        text = " ".join(text.split())
        excerpt = text[:EXCERPT] + ("…" if len(text) > EXCERPT else "")
        return f"{answer.status} ({excerpt})" if excerpt else f"{answer.status}"
    if request.contains and request.contains.encode() not in answer.body:
        return f"{answer.status}, but {request.contains!r} is not in its {len(answer.body)} bytes"
    if request.stream and not _ended(answer):
        return f"{answer.status}, but its stream does not end with data: [DONE]"
    return ""


def _ended(answer: Answer) -> bool:
    return answer.body.rstrip().endswith(b"data: [DONE]")


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Watch:
    """A sampler in the background: each target is probed every `interval_s`, in a thread of its own.

    `targets` maps the name of a probe ("live", "ready", "edge") to its base URL and a path, or a whole request with
    the answer that it expects. `headers` go with every one that is a path, and `checks` says which answers are healthy.
    `rows` has one Observation per probe, ordered by time; it may be read at any time.
    """

    def __init__(
        self,
        targets: Targets,
        interval_s: float = 0.1,
        timeout_s: float = 1.0,
        headers: Mapping[str, str] = MappingProxyType({}),
        checks: profile.Health = HEALTH,
    ) -> None:
        self.targets, self._interval_s, self._timeout_s = targets, interval_s, timeout_s
        self._headers, self._checks = headers, checks
        self._rows: list[Observation] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def rows(self) -> list[Observation]:
        return sorted(self._rows, key=lambda row: row.t_ns)

    def __enter__(self) -> Self:
        for kind, (base_url, request) in self.targets.items():
            thread = threading.Thread(
                target=self._sample, args=(kind, base_url, request), name=f"watch-{kind}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _sample(self, kind: str, base_url: str, request: str | profile.Probe) -> None:
        while not self._stop.is_set():
            if isinstance(request, str):
                addressed = profile.Probe(path=request, headers=dict(self._headers))
                self._rows.append(perform(base_url, addressed, self._timeout_s, kind, self._checks))
            else:
                self._rows.append(perform(base_url, request, self._timeout_s, kind))
            self._stop.wait(self._interval_s)


def watch(
    targets: Targets,
    interval_s: float = 0.1,
    timeout_s: float = 1.0,
    headers: Mapping[str, str] = MappingProxyType({}),
    checks: profile.Health = HEALTH,
) -> Watch:
    """Sample `targets` while the returned context is open."""
    return Watch(targets, interval_s, timeout_s, headers, checks)
