"""Hedges: where the second attempt goes, which of the two is taken, and what is told of both."""

import asyncio

import orjson
import pytest

from tailrace import Limits, Policy, Retry, Target
from tailrace.client.drivers import AsyncDriver
from tailrace.client.drivers import single_flight as hedges
from tailrace.client.wire import Request, Response, Unanswered

BODY = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}
ASKED = Request("POST", "http://own:1/v1/chat/completions", (), orjson.dumps(BODY))
JSON = (("content-type", "application/json"),)
GOOD = Response(200, JSON, orjson.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}))
HIDDEN = Response(200, JSON, b'{"error": {"message": "m", "code": 503}}')
HTML = Response(200, JSON, b"<html>")
BUSY, QUOTA = Response(503, JSON, b"{}"), Response(402, JSON, b"{}")
PLACES = ("a", "b", "c")


class Lab:
    """Two attempts, each at a gate of its own: what they answer, and in which order."""

    def __init__(self, monkeypatch, places=2, **policy):
        for place in PLACES:
            monkeypatch.setenv(f"KEY_{place.upper()}", f"sk-{place}")
        self.hosts, self.rows, self.calls = [], [], []
        targets = tuple(Target(f"http://{place}:1/v1", f"KEY_{place.upper()}") for place in PLACES[:places])
        limits = Limits(hedge_after_s=0.001, concurrency=policy.pop("concurrency", 2))
        settings = {"cache": None, "retry": Retry(attempts=1), "limits": limits, "targets": targets, **policy}
        self.policy = Policy(**settings, attempt_hooks=(self.rows.append,), hooks=(self.calls.append,))

    def run(self, *answers, ends=(1, 0)):
        """Make a call whose attempts give `answers`; they end in the order of `ends`, those not named never."""

        async def main():
            gates, both, begun = [asyncio.Event() for _ in answers], asyncio.Event(), []

            async def send(request):
                number = len(begun)
                begun.append(request)
                self.hosts.append(request.url.split("/")[2].partition(":")[0])
                if len(begun) == len(answers):
                    both.set()
                if number < len(gates):
                    await gates[number].wait()
                    if isinstance(answers[number], Exception):
                        raise answers[number]
                    return answers[number]
                return GOOD

            self.driver = AsyncDriver(self.policy, send)
            call = asyncio.create_task(self.driver(ASKED))
            await both.wait()
            for number in ends:
                gates[number].set()
                for _ in range(20):
                    await asyncio.sleep(0)
            return await call

        try:
            return asyncio.run(main())
        finally:
            attempts = self.driver.pipeline.fetcher.attempts
            assert attempts.permits is None or attempts.permits.in_flight == 0
            self.destinations = attempts.destinations.all() if attempts.destinations is not None else []

    def told(self):
        return [(row.number, row.target, row.status, row.cause) for row in self.rows]


@pytest.mark.parametrize(("places", "second"), [(2, "b"), (3, "b"), (1, "a"), (0, "own")])
def test_the_second_attempt_goes_to_another_target(monkeypatch, places, second):
    """Where there is no other, it goes where the first went."""
    lab = Lab(monkeypatch, places)
    assert lab.run(GOOD, GOOD, ends=(1,)).status == 200
    assert lab.hosts == ["a" if places else "own", second]
    assert lab.calls[0].attempts == 2


def test_a_target_that_cools_down_gets_no_hedge(monkeypatch):
    """The only other target has no quota left: the second attempt goes where the first went."""
    lab = Lab(monkeypatch)

    async def main():
        places = []

        async def send(request):
            places.append(request.url.split("/")[2][0])
            if len(places) == 4:  # the third call's first attempt: it waits until the hedge has won
                await asyncio.Event().wait()
            return QUOTA if places[-1] == "b" else GOOD

        driver = AsyncDriver(lab.policy, send)
        for _ in range(3):
            await driver(ASKED)
        return places

    assert asyncio.run(main()) == ["a", "b", "a", "a", "a"]  # "b" once: the second call is passed on to "a"


@pytest.mark.parametrize(
    "bad", [HIDDEN, HTML, BUSY, QUOTA, Unanswered("connection", "reset")], ids=["200", "html", "503", "402", "reset"]
)
@pytest.mark.parametrize("first", [0, 1])
def test_an_error_never_wins_against_an_attempt_that_is_running(monkeypatch, bad, first):
    """The other's answer is taken, and books, hooks and breakers hear of both, each with its target."""
    lab = Lab(monkeypatch)
    answers = (bad, GOOD) if first == 0 else (GOOD, bad)
    taken = lab.run(*answers, ends=(first, 1 - first))
    assert (taken.status, taken.body) == (200, GOOD.body)
    lost, won = sorted(lab.rows, key=lambda row: row.cause is None)
    assert [row.number for row in lab.rows] == [1, 2] == [lost.number, won.number]
    assert lost.cause is not None
    assert lost.target.endswith(f"{PLACES[first]}:1/v1 KEY_{PLACES[first].upper()}") or PLACES[first] in lost.target
    assert lost.target != won.target
    assert (lab.calls[0].attempts, lab.calls[0].outcome, len(lab.calls[0].attempts_s)) == (2, "ok", 2)
    bad_one, good_one = lab.destinations[first], lab.destinations[1 - first]
    broken = bad is not QUOTA
    assert [len(one.breaker._outcomes) for one in (bad_one, good_one)] == [1, 1]
    assert (bad_one.breaker._failures, good_one.breaker._failures) == (int(broken), 0)
    assert (bad_one.strikes, good_one.strikes) == (1, 0)
    assert (bad_one.cause == "quota") is (bad is QUOTA)


def test_when_the_judgement_is_the_status_alone_an_error_under_200_wins(monkeypatch):
    """Negative control: without the policy's judgement the error is taken, and the good answer stopped."""
    monkeypatch.setattr(hedges, "_rank", lambda task, _number, _hedge: int(task.result().status >= 400))
    lab = Lab(monkeypatch)
    assert lab.run(HIDDEN, GOOD, ends=(0, 1)).status == 503


def test_of_an_attempt_that_was_stopped_nothing_is_told(monkeypatch):
    """Nobody knows how it would have ended: no row, no outcome, no strike; its permit and circuit are free."""
    lab = Lab(monkeypatch)
    lab.run(GOOD, GOOD, ends=(1,))
    assert [row[0] for row in lab.told()] == [1]
    assert "b" in lab.rows[0].target
    assert [len(one.breaker._outcomes) for one in lab.destinations] == [0, 1]
    assert lab.calls[0].attempts == 2


def test_when_both_fail_both_are_told_and_both_targets_were_tried(monkeypatch):
    """An answer, if a bad one, is taken before none; the retry comes after both."""
    lab = Lab(monkeypatch, retry=Retry(attempts=2, base_s=0.001))
    assert lab.run(BUSY, Unanswered("connection", "reset"), ends=(1, 0)).status == 200
    assert [(row.number, row.status, row.cause) for row in lab.rows][:2] == [(1, 0, "connection"), (2, 503, "server")]
    assert [one.breaker._failures for one in lab.destinations] == [1, 1]


def test_adaptive_permits_are_those_of_the_target_that_answers(monkeypatch):
    """Each attempt holds one of its own destination's, and both are given back."""
    lab = Lab(monkeypatch, concurrency="adaptive")
    lab.run(GOOD, GOOD, ends=(1,))
    assert [one.in_flight for one in lab.destinations] == [0, 0]


def test_a_caller_who_leaves_stops_both(monkeypatch):
    """Permits and circuits of both are free again, and no row is told."""
    lab = Lab(monkeypatch, concurrency="adaptive")

    async def main():
        both, begun = asyncio.Event(), []

        async def send(request):
            begun.append(request)
            if len(begun) == 2:
                both.set()
            await asyncio.Event().wait()

        driver = AsyncDriver(lab.policy, send)
        call = asyncio.create_task(driver(ASKED))
        await both.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return [one.in_flight for one in driver.pipeline.fetcher.attempts.destinations.all()]

    assert asyncio.run(main()) == [0, 0]
    assert not lab.rows


@pytest.mark.parametrize("failed", [0, 1], ids=["the first", "the hedge"])
def test_a_failure_is_told_though_the_caller_leaves(monkeypatch, failed):
    """One attempt failed while the other went on, and then the caller left: hooks and circuit hear of that one."""
    lab = Lab(monkeypatch, concurrency="adaptive")

    async def main():
        both, begun = asyncio.Event(), []

        async def send(request):
            number = len(begun)
            begun.append(request)
            if len(begun) == 2:
                both.set()
            await both.wait()
            if number != failed:
                await asyncio.Event().wait()
            return BUSY

        driver = AsyncDriver(lab.policy, send)
        call = asyncio.create_task(driver(ASKED))
        await both.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return driver.pipeline.fetcher.attempts.destinations.all()

    destinations = asyncio.run(main())
    assert [(row.number, row.status, row.cause, PLACES[failed] in row.target) for row in lab.rows] == [
        (1, 503, "server", True)
    ]
    assert [one.breaker._failures for one in destinations] == [int(number == failed) for number in (0, 1)]
    assert [one.strikes for one in destinations] == [int(number == failed) for number in (0, 1)]
    assert [one.in_flight for one in destinations] == [0, 0]


def test_a_rate_without_room_allows_no_hedge(monkeypatch):
    """A hedge is a request that the provider counts: it takes from the rate, and never waits for it."""
    limits = Limits(hedge_after_s=0.001, requests_per_min=1)
    lab = Lab(monkeypatch, 0, limits=limits)

    async def main():
        sent = []

        async def send(request):
            sent.append(request)
            await asyncio.sleep(0.05)
            return GOOD

        await AsyncDriver(lab.policy, send)(ASKED)
        return len(sent)

    assert asyncio.run(main()) == 1
