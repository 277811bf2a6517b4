"""Health of the service. Live: the event loop runs. Ready: provider and cache work, and the service is not draining.

The results of the checks are reused for a second, and probers that come while the checks run share their results: ten
probers cost the provider one request per second.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tailrace.service.in_flight import InFlight

KEEP_S = 1.0
INTERVAL_S = 0.25


class HealthResult(NamedTuple):
    """The result of one check: whether the part works, and the fact that decided it."""

    ok: bool
    fact: str


HealthCheck = Callable[[], Awaitable[HealthResult]]


class Snapshot(NamedTuple):
    """The results of one round of checks."""

    at: float
    parts: Mapping[str, HealthResult]

    @property
    def ok(self) -> bool:
        return all(part.ok for part in self.parts.values())


class Readiness:
    """Runs `checks` at most once per `keep_s`, however many probers ask; draining shows at once."""

    def __init__(
        self, checks: Mapping[str, HealthCheck], in_flight: InFlight, *, timeout_s: float, keep_s: float = KEEP_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._checks = checks
        self._flights = in_flight
        self._timeout_s = timeout_s
        self._keep_s = keep_s
        self._clock = clock
        self._last: Snapshot | None = None
        self._running: asyncio.Task[Snapshot] | None = None

    async def __call__(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the service is ready, and the JSON that names each part and its fact."""
        snapshot = await self._current()
        draining = self._flights.draining
        drain = HealthResult(not draining, f"draining, {len(self._flights)} in flight" if draining else "not draining")
        parts = {**snapshot.parts, "drain": drain}
        ok = all(part.ok for part in parts.values())
        age_ms = round((self._clock() - snapshot.at) * 1e3, 1)
        because = "; ".join(f"{name}: {part.fact}" for name, part in parts.items() if not part.ok)
        return ok, {
            "status": "ready" if ok else "not ready",
            **({} if ok else {"because": because}),
            "parts": {name: part._asdict() for name, part in parts.items()},
            "age_ms": age_ms,
        }

    async def _current(self) -> Snapshot:
        if self._last is not None and self._clock() - self._last.at < self._keep_s:
            return self._last
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return await asyncio.shield(self._running)  # one prober's cancellation must not end it for the others

    async def _run(self) -> Snapshot:
        try:
            results = await asyncio.gather(*(self._result(check) for check in self._checks.values()))
            self._last = Snapshot(self._clock(), dict(zip(self._checks, results, strict=True)))
            return self._last
        finally:
            self._running = None

    async def _result(self, check: HealthCheck) -> HealthResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await check()
        except TimeoutError:
            return HealthResult(False, f"no answer within {self._timeout_s:g} s")
        except Exception as error:
            return HealthResult(False, f"failed: {reason(error)}")


class LoopMonitor:
    """Measures the lag of the event loop; a blocked loop answers no probe at all."""

    def __init__(self, on_lag: Callable[[float], object]) -> None:
        self.lag_s = 0.0
        self._on_lag = on_lag
        self._started = time.monotonic()

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL_S
            await asyncio.sleep(INTERVAL_S)
            self.lag_s = max(0.0, loop.time() - due)
            self._on_lag(self.lag_s)

    def facts(self) -> dict[str, Any]:
        """Return the JSON of `/healthz`."""
        uptime_s = round(time.monotonic() - self._started, 3)
        return {"status": "live", "loop_lag_ms": round(self.lag_s * 1e3, 3), "uptime_s": uptime_s}


def reason(error: BaseException) -> str:
    """Return why something failed: the system's message, SQLite's code or a type; never the error's own text."""
    cause: BaseException | None = error
    while cause is not None:
        if code := getattr(cause, "sqlite_errorname", ""):
            return str(code)
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
