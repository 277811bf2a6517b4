"""Liveness and readiness."""

import asyncio
import errno

from tailrace.service.health import HealthResult, LoopMonitor, Readiness, reason
from tailrace.service.in_flight import InFlight


class Part:
    """A part of the service whose state a test sets."""

    def __init__(self, ok: bool = True, takes_s: float = 0.0) -> None:
        self.ok = ok
        self.takes_s = takes_s
        self.runs = 0

    async def __call__(self) -> HealthResult:
        self.runs += 1
        await asyncio.sleep(self.takes_s)
        return HealthResult(self.ok, "as set")


def test_ready_follows_its_parts() -> None:
    """Ready is green while every part is, red when one is not, and green again once that part is."""

    async def check() -> None:
        part, now = Part(), [0.0]
        ready = Readiness({"cache": part}, InFlight(), timeout_s=1, clock=lambda: now[0])
        results = []
        for ok in (True, False, True):
            part.ok, now[0] = ok, now[0] + 2
            results.append((await ready())[0])
        assert results == [True, False, True]

    asyncio.run(check())


def test_results_are_reused_for_a_second() -> None:
    """A probe within a second gets the latest results, with their age."""

    async def check() -> None:
        part, now = Part(), [0.0]
        ready = Readiness({"cache": part}, InFlight(), timeout_s=1, clock=lambda: now[0])
        await ready()
        now[0] = 0.9
        assert (await ready())[1]["age_ms"] == 900
        assert part.runs == 1
        now[0] = 1.0
        await ready()
        assert part.runs == 2

    asyncio.run(check())


def test_concurrent_probers_share_one_run() -> None:
    """A hundred probes at once run the checks once; one that is cancelled does not end the run for the others."""

    async def check() -> None:
        part = Part(takes_s=0.05)
        ready = Readiness({"provider": part}, InFlight(), timeout_s=1)
        asks = [asyncio.create_task(ready()) for _ in range(100)]
        await asyncio.sleep(0.01)
        asks[0].cancel()
        results = await asyncio.gather(*asks, return_exceptions=True)
        assert part.runs == 1
        assert sum(isinstance(result, tuple) and result[0] for result in results) == 99

    asyncio.run(check())


def test_a_part_that_hangs_is_red() -> None:
    """The fact of a check that times out is the limit."""

    async def check() -> None:
        ok, content = await Readiness({"provider": Part(takes_s=9)}, InFlight(), timeout_s=0.02)()
        assert not ok
        assert content["parts"]["provider"] == {"ok": False, "fact": "no answer within 0.02 s"}

    asyncio.run(check())


def test_draining_shows_at_once() -> None:
    """Draining turns ready red although the latest results are fresh."""

    async def check() -> None:
        in_flight = InFlight()
        ready = Readiness({}, in_flight, timeout_s=1)
        assert (await ready())[0]
        in_flight.draining = True
        ok, content = await ready()
        assert not ok
        assert content["parts"]["drain"] == {"ok": False, "fact": "draining, 0 in flight"}

    asyncio.run(check())


def test_the_monitor_measures_the_lag_of_the_loop() -> None:
    """A blocked loop shows the time that it was blocked."""

    async def check() -> None:
        lags: list[float] = []
        monitor = LoopMonitor(lags.append)
        running = asyncio.create_task(monitor.run())
        await asyncio.sleep(0.2)
        import time

        time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
        await asyncio.sleep(0.1)
        running.cancel()
        assert max(lags) > 0.1
        assert monitor.facts()["loop_lag_ms"] > 100

    asyncio.run(check())


def test_a_reason_is_never_an_errors_own_text() -> None:
    """An error is described by the system's message or by its type."""
    wrapped = RuntimeError("key=abc")
    wrapped.__cause__ = OSError(errno.ECONNREFUSED, "abc")
    assert reason(wrapped) == "connection refused"
    assert reason(ValueError("abc")) == "ValueError"
