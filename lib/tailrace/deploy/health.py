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
from tailrace.errors import PartMissing
from tailrace.host.http import FAILURES, Answer, exchange

Targets = Mapping[str, tuple[str, str | profile.Probe]]
"""Base URL and path, or whole request, of each probe, by its name."""
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


def probe(
    base_url: str,
    path: str = "/",
    timeout_s: float = 1.0,
    kind: str = "probe",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Observation:
    """Request `path` once: 2xx is ok, everything else is not. Raises nothing, whatever the server does."""
    return perform(base_url, profile.Probe(path=path, headers=dict(headers)), timeout_s, kind, any_success=True)


def perform(
    base_url: str, request: profile.Probe, timeout_s: float = 10.0, kind: str = "probe", any_success: bool = False
) -> Observation:
    """Send `request` once and compare the answer with what the request expects. Raises nothing, as `probe`.

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
    mismatch = _mismatch(answer, request, any_success)
    fact = mismatch or f"{answer.status} in {answer.duration_s * 1e3:.0f} ms"
    return Observation(started_ns, kind, not mismatch, answer.status, fact, answer.duration_s, answer.headers)


def _mismatch(answer: Answer, request: profile.Probe, any_success: bool) -> str:
    as_expected = 200 <= answer.status < 300 if any_success else answer.status == request.status
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
    the answer that it expects. `headers` go with every one that is a path.
    `rows` has one Observation per probe, ordered by time; it may be read at any time.
    """

    def __init__(
        self,
        targets: Targets,
        interval_s: float = 0.1,
        timeout_s: float = 1.0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.targets, self._interval_s, self._timeout_s, self._headers = targets, interval_s, timeout_s, headers
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
                self._rows.append(probe(base_url, request, self._timeout_s, kind, self._headers))
            else:
                self._rows.append(perform(base_url, request, self._timeout_s, kind))
            self._stop.wait(self._interval_s)


def watch(
    targets: Targets,
    interval_s: float = 0.1,
    timeout_s: float = 1.0,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Watch:
    """Sample `targets` while the returned context is open."""
    return Watch(targets, interval_s, timeout_s, headers)
