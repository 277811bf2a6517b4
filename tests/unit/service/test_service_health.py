"""Liveness and readiness."""

import asyncio
import errno

from tailrace.service.health import Fact, Heart, Readiness, reason
from tailrace.service.in_flight import Flights


class Part:
    """A part of the service whose state a test sets."""

    def __init__(self, ok: bool = True, takes_s: float = 0.0) -> None:
        self.ok = ok
        self.takes_s = takes_s
        self.looks = 0

    async def __call__(self) -> Fact:
        self.looks += 1
        await asyncio.sleep(self.takes_s)
        return Fact(self.ok, "as set")


def test_ready_follows_its_parts() -> None:
    """Ready is green while every part is, red when one is not, and green again when that one is repaired."""

    async def check() -> None:
        part, now = Part(), [0.0]
        ready = Readiness({"cache": part}, Flights(), timeout_s=1, clock=lambda: now[0])
        seen = []
        for ok in (True, False, True):
            part.ok, now[0] = ok, now[0] + 2
            seen.append((await ready())[0])
        assert seen == [True, False, True]

    asyncio.run(check())


def test_a_look_is_kept_for_a_second() -> None:
    """Who asks within a second gets the last look's answer, with its age."""

    async def check() -> None:
        part, now = Part(), [0.0]
        ready = Readiness({"cache": part}, Flights(), timeout_s=1, clock=lambda: now[0])
        await ready()
        now[0] = 0.9
        assert (await ready())[1]["age_ms"] == 900
        assert part.looks == 1
        now[0] = 1.0
        await ready()
        assert part.looks == 2

    asyncio.run(check())


def test_probers_share_a_look() -> None:
    """A hundred who ask at once cause one look; one that gives up does not end it for the others."""

    async def check() -> None:
        part = Part(takes_s=0.05)
        ready = Readiness({"provider": part}, Flights(), timeout_s=1)
        asks = [asyncio.create_task(ready()) for _ in range(100)]
        await asyncio.sleep(0.01)
        asks[0].cancel()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert part.looks == 1
        assert sum(isinstance(answer, tuple) and answer[0] for answer in answers) == 99

    asyncio.run(check())


def test_a_part_that_hangs_is_red() -> None:
    """A part that does not answer in time is named with the limit."""

    async def check() -> None:
        ok, content = await Readiness({"provider": Part(takes_s=9)}, Flights(), timeout_s=0.02)()
        assert not ok
        assert content["parts"]["provider"] == {"ok": False, "fact": "no answer within 0.02 s"}

    asyncio.run(check())


def test_draining_is_told_at_once() -> None:
    """Draining turns ready red although the last look is fresh."""

    async def check() -> None:
        flights = Flights()
        ready = Readiness({}, flights, timeout_s=1)
        assert (await ready())[0]
        flights.draining = True
        ok, content = await ready()
        assert not ok
        assert content["parts"]["drain"] == {"ok": False, "fact": "draining, 0 in flight"}

    asyncio.run(check())


def test_the_heart_measures_the_loop() -> None:
    """A loop that is held up shows the time in its lag."""

    async def check() -> None:
        seen: list[float] = []
        heart = Heart(seen.append)
        beating = asyncio.create_task(heart.beat())
        await asyncio.sleep(0.2)
        import time

        time.sleep(0.2)  # noqa: ASYNC251 - this is the fault
        await asyncio.sleep(0.1)
        beating.cancel()
        assert max(seen) > 0.1
        assert heart.facts()["loop_lag_ms"] > 100

    asyncio.run(check())


def test_a_reason_is_never_an_errors_own_text() -> None:
    """A failure is told by the system's words or by its type."""
    wrapped = RuntimeError("key=abc")
    wrapped.__cause__ = OSError(errno.ECONNREFUSED, "abc")
    assert reason(wrapped) == "connection refused"
    assert reason(ValueError("abc")) == "ValueError"
