"""What hooks are told of attempts, and what a predicate of the caller's decides, with a scripted provider."""

import asyncio

import orjson
import pytest

from tailrace import Fallback, Limits, Policy, Retry, limits
from tailrace.client import AsyncDriver, Attempt, ConnectionFailed, Driver, wire
from tailrace.client.clock import Clock

ASKED = wire.Request(
    "POST", "http://h/v1/chat/completions", (("authorization", "Bearer sk-test"),),
    orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "PROMPT"}]}),
)  # fmt: skip
JSON = (("content-type", "application/json"),)
GOOD = orjson.dumps({"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]})


class Time:
    """Simulated time, in which each attempt takes 0.25 s."""

    def __init__(self):
        self.now = 100.0
        self.clock = Clock(monotonic=lambda: self.now, chance=lambda: 0.5)

    def sleep(self, seconds):
        self.now += seconds

    async def asleep(self, seconds):
        self.now += seconds


def answer(step):
    if isinstance(step, str):
        raise wire.Unanswered(step, step)
    if step == 200:
        return wire.Response(200, JSON, GOOD)
    return wire.Response(step, JSON, b'{"error": {"message": "no"}}')


@pytest.fixture(params=["threads", "asyncio"])
def run(request):
    """Return a function that sends one request; the provider takes `steps` in turn: a status, or how it fails."""

    def call(steps, **policy):
        time, left = Time(), list(steps)
        made = Policy(**{"cache": None, **policy})

        def send(sent):
            time.now += 0.25
            call.sent.append(sent)
            return answer(left.pop(0))

        async def asend(sent):
            return send(sent)

        call.sent = []
        if request.param == "threads":
            return Driver(made, send, clock=time.clock, sleep=time.sleep)(ASKED)
        driver = AsyncDriver(made, asend, clock=time.clock, sleep=time.asleep)
        return asyncio.run(driver(ASKED))

    return call


def test_each_attempt_is_told_with_its_cause_and_the_wait_after_it(run):
    """Numbers rise from 1, each failure has its cause, and the last attempt has no wait after it."""
    rows = []
    with limits(tenant="acme"):
        run([503, "timeout", 429, 200], retry=Retry(base_s=1.0), attempt_hooks=(rows.append,))
    assert [(row.number, row.status, row.cause) for row in rows] == [
        (1, 503, "server"), (2, 0, "timeout"), (3, 429, "rate_limit"), (4, 200, None),
    ]  # fmt: skip
    assert [row.wait_s for row in rows] == [0.5, 1.0, 2.0, None]
    assert {row[:4] for row in rows} == {("chat", "gpt-4o-mini", "acme", "openai")}
    assert all(row.duration_s == pytest.approx(0.25) for row in rows)


@pytest.mark.parametrize(("steps", "retry", "waits"), [
    ([400], Retry(), [None]), ([503], None, [None]), ([503, 503], Retry(attempts=2), [0.25, None]),
    ([503], Retry(budget=0.0, budget_burst=0), [None]), ([200], Retry(), [None]),
])  # fmt: skip
def test_a_wait_is_told_only_when_another_attempt_follows(run, steps, retry, waits):
    """Neither a refusal, nor the last attempt, nor an empty budget is followed by one."""
    rows = []
    run(steps, retry=retry, attempt_hooks=(rows.append,))
    assert [row.wait_s for row in rows] == waits
    assert len(run.sent) == len(steps)


def test_a_row_holds_no_prompt_key_or_url(run):
    """Whatever the attempt was, its row may be written down; the request beside it may not."""
    rows = []
    run([503, 200], retry=Retry(), attempt_hooks=(rows.append,))
    for secret in ("PROMPT", "sk-test", "http"):
        assert secret not in repr(rows)
        assert secret in repr(run.sent)


def test_an_attempt_of_a_fallback_has_its_own_model(run):
    """Attempts are numbered through the whole call; the row of each names the model that was asked."""
    rows, calls = [], []
    policy = {"fallbacks": (Fallback(model="gpt-4o"),), "attempt_hooks": (rows.append,), "hooks": (calls.append,)}
    run([503, 503, 200], retry=Retry(attempts=2), **policy)
    assert [(row.number, row.model) for row in rows] == [(1, "gpt-4o-mini"), (2, "gpt-4o-mini"), (3, "gpt-4o")]
    assert calls[0].attempts == len(rows)


def test_a_hook_that_fails_is_logged_by_name_and_the_others_are_told(run, caplog):
    """Neither the call nor another hook notices; a hook that works is not in the log."""
    rows = []

    def broken(_row):
        raise RuntimeError("PROMPT")

    assert run([200], attempt_hooks=(broken, rows.append)).status == 200
    assert len(rows) == 1
    assert "broken failed: RuntimeError" in caplog.text
    assert "PROMPT" not in caplog.text
    assert "append" not in caplog.text


@pytest.mark.parametrize(("answer", "sent"), [(True, 3), (False, 1), (None, 1)])
def test_a_predicate_decides_about_what_the_policy_would_not_retry(run, answer, sent):
    """True retries a refusal, False and None do not."""
    response = run([400, 400, 200], retry=Retry(retry_if=lambda row: answer))
    assert (len(run.sent), response.status) == (sent, 200 if sent == 3 else 400)


@pytest.mark.parametrize(("answer", "sent"), [(True, 2), (False, 1), (None, 2)])
def test_a_predicate_decides_about_what_the_policy_would_retry(run, answer, sent):
    """False makes the first failure the last, True and None do not."""
    assert run([503, 200], retry=Retry(retry_if=lambda row: answer)).status == (200 if sent == 2 else 503)
    assert len(run.sent) == sent


def test_a_predicate_is_asked_about_failures_only_and_sees_what_the_hooks_see(run):
    """It gets the row of each attempt that failed, before any wait is known; a good answer is never sent again."""
    asked, rows = [], []

    def predicate(attempt):
        asked.append(attempt)
        return True

    run([400, "connection", 200], retry=Retry(retry_if=predicate), attempt_hooks=(rows.append,))
    assert [(row.number, row.cause, row.wait_s) for row in asked] == [(1, "request", None), (2, "connection", None)]
    assert [row._replace(wait_s=None) for row in rows[:2]] == asked


@pytest.mark.parametrize("more", [
    {"retry": Retry(attempts=2, retry_if=lambda row: True)},
    {"retry": Retry(budget=0.0, budget_burst=1, retry_if=lambda row: True)},
    {"retry": Retry(base_s=1.0, retry_if=lambda row: True), "limits": Limits(deadline_s=1.2)},
], ids=["attempts", "budget", "deadline"])  # fmt: skip
def test_no_predicate_lifts_a_limit(run, more):
    """Number, budget and deadline hold also for one who always wants another attempt."""
    assert run([503] * 9, **more).status == 503
    assert len(run.sent) == 2


def test_a_predicate_that_fails_leaves_it_to_the_policy(run, caplog):
    """It is logged by name; what the policy retries is retried, what it refuses is not."""

    def broken(_row):
        raise RuntimeError("PROMPT")

    assert run([503, 200], retry=Retry(retry_if=broken)).status == 200
    assert run([400], retry=Retry(retry_if=broken)).status == 400
    assert "predicate" in caplog.text
    assert "broken failed: RuntimeError" in caplog.text
    assert "PROMPT" not in caplog.text


def test_an_attempt_whose_caller_left_has_no_row():
    """A call that is cancelled while it is under way tells no attempt; the one that ended before is told."""
    rows = []

    async def main():
        begun = asyncio.Event()

        async def send(_request):
            if not rows:
                return answer(503)
            begun.set()
            return await asyncio.sleep(60)

        policy = Policy(cache=None, retry=Retry(base_s=0.001), attempt_hooks=(rows.append,))
        task = asyncio.create_task(AsyncDriver(policy, send)(ASKED))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert [(row.number, row.cause) for row in rows] == [(1, "server")]


def test_without_hooks_no_row_is_made(run, monkeypatch):
    """What is not used costs nothing: with a hook the row is made, and here it could not be."""
    monkeypatch.setattr("tailrace.client.call.attempt_hooks.Attempt", None)
    assert run([503, 200], retry=Retry()).status == 200
    with pytest.raises(TypeError):
        run([200], attempt_hooks=(print,))


@pytest.mark.parametrize("wrong", [
    lambda: Policy(attempt_hooks=print), lambda: Policy(attempt_hooks=("x",)), lambda: Retry(retry_if="always"),
])  # fmt: skip
def test_what_cannot_be_called_is_refused(wrong):
    """A hook or a predicate that is no function is a mistake when the policy is made."""
    with pytest.raises(ValueError, match=r"attempt_hooks|retry_if"):
        wrong()


def test_a_policy_of_attempt_hooks_alone_is_not_empty():
    """An empty policy lets calls pass untouched, and would tell nobody of them."""
    nothing = {"cache": None, "retry": None, "guard": None}
    assert Policy(**nothing).empty
    assert not Policy(**nothing, attempt_hooks=(print,)).empty
    assert Attempt._fields[-1] == "wait_s"


def test_the_last_failure_is_told_before_the_error_is_raised(run):
    """A call without any answer has told each of its attempts by then."""
    rows = []
    with pytest.raises(ConnectionFailed):
        run(["connection"] * 2, retry=Retry(attempts=2), attempt_hooks=(rows.append,))
    assert [(row.status, row.cause) for row in rows] == [(0, "connection")] * 2
