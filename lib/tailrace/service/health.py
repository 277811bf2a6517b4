"""Live: the loop turns. Ready: the provider answers, the cache takes and gives, and nobody said goodbye.

A look at the parts is kept for a second, and everybody who asks while one is under way waits for that one,
so that ten probers cost the provider one request per second.
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tailrace.service.in_flight import Flights

KEEP_S = 1.0
BEAT_S = 0.25


class Fact(NamedTuple):
    """What was found of one part."""

    ok: bool
    fact: str


Check = Callable[[], Awaitable[Fact]]


class Look(NamedTuple):
    """What one look at the parts found."""

    at: float
    parts: Mapping[str, Fact]

    @property
    def ok(self) -> bool:
        return all(part.ok for part in self.parts.values())


class Readiness:
    """Looks at `checks` at most once per `keep_s`, however many ask; draining is told without a look."""

    def __init__(
        self, checks: Mapping[str, Check], flights: Flights, *, timeout_s: float, keep_s: float = KEEP_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._checks = checks
        self._flights = flights
        self._timeout_s = timeout_s
        self._keep_s = keep_s
        self._clock = clock
        self._last: Look | None = None
        self._looking: asyncio.Task[Look] | None = None

    async def __call__(self) -> tuple[bool, dict[str, Any]]:
        """Return whether the service is ready, and the JSON that names each part and its fact."""
        look = await self._current()
        draining = self._flights.draining
        drain = Fact(not draining, f"draining, {len(self._flights)} in flight" if draining else "not draining")
        parts = {**look.parts, "drain": drain}
        ok = all(part.ok for part in parts.values())
        age_ms = round((self._clock() - look.at) * 1e3, 1)
        because = "; ".join(f"{name}: {part.fact}" for name, part in parts.items() if not part.ok)
        return ok, {
            "status": "ready" if ok else "not ready",
            **({} if ok else {"because": because}),
            "parts": {name: part._asdict() for name, part in parts.items()},
            "age_ms": age_ms,
        }

    async def _current(self) -> Look:
        if self._last is not None and self._clock() - self._last.at < self._keep_s:
            return self._last
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
        return await asyncio.shield(self._looking)  # a prober that gives up does not end it for the others

    async def _look(self) -> Look:
        try:
            facts = await asyncio.gather(*(self._fact(check) for check in self._checks.values()))
            self._last = Look(self._clock(), dict(zip(self._checks, facts, strict=True)))
            return self._last
        finally:
            self._looking = None

    async def _fact(self, check: Check) -> Fact:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await check()
        except TimeoutError:
            return Fact(False, f"no answer within {self._timeout_s:g} s")
        except Exception as error:
            return Fact(False, f"failed: {reason(error)}")


class Heart:
    """Measures how late the loop turns; a loop that stands still answers no probe at all."""

    def __init__(self, observe: Callable[[float], object]) -> None:
        self.lag_s = 0.0
        self._observe = observe
        self._started = time.monotonic()

    async def beat(self) -> None:
        """Beat until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self.lag_s = max(0.0, loop.time() - due)
            self._observe(self.lag_s)

    def facts(self) -> dict[str, Any]:
        """Return the JSON of `/healthz`."""
        uptime_s = round(time.monotonic() - self._started, 3)
        return {"status": "live", "loop_lag_ms": round(self.lag_s * 1e3, 3), "uptime_s": uptime_s}


def reason(error: BaseException) -> str:
    """Return why something failed: the system's words, SQLite's code or a type; never the error's own text."""
    seen: BaseException | None = error
    while seen is not None:
        if code := getattr(seen, "sqlite_errorname", ""):
            return str(code)
        if isinstance(seen, OSError) and seen.errno is not None and seen.errno in errno.errorcode:
            return os.strerror(seen.errno).lower()
        seen = seen.__cause__ or seen.__context__
    return type(error).__name__
