"""Targets: shares, cool-downs, moves and waits, with scripted providers and a clock of the test's, for both drivers."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import openai
import orjson
import pytest

from tailrace import Breaker, Cache, Fallback, Limits, Memory, Policy, Retry, Spend, Target
from tailrace.client import AsyncDriver, CircuitOpen, DeadlineExceeded, Driver, wire
from tailrace.client.clock import Clock

GOOD = orjson.dumps({"model": "gpt-4o-mini", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}]})  # fmt: skip
JSON = (("content-type", "application/json"),)
URL = "http://own/v1/chat/completions"
KEYS = tuple(Target(api_key_env=f"KEY_{letter}") for letter in "ABC")


def request(model="gpt-4o-mini", url=URL, headers=(), **more):
    body = orjson.dumps({"model": model, "messages": [], **more})
    return wire.Request("POST", url, (("authorization", "Bearer own"), *headers), body)


@dataclass
class World:
    """A provider that answers by the key it sees, the requests it saw, and a clock that only sleeping moves."""

    answers: dict = field(default_factory=dict)
    seen: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    now: float = 1000.0
    call: object = None

    def answer(self, asked):
        key = wire.header(asked.headers, "authorization") or wire.header(asked.headers, "api-key") or "none"
        key = key.removeprefix("Bearer ")
        self.seen.append((key, asked))
        found = self.answers.get(key, 200)
        found = found(self.now) if callable(found) else found
        if isinstance(found, Exception):
            raise found
        status, body, *headers = found if isinstance(found, tuple) else (found, b"{}")
        return wire.Response(status, (*JSON, *headers), GOOD if status == 200 else body)

    @property
    def keys(self):
        return [key for key, _ in self.seen]


@pytest.fixture(params=["threads", "asyncio"])
def world(request, monkeypatch):
    """A world whose `policy(…)` makes its driver; `call(request)` blocks with either."""
    for letter in "ABC":
        monkeypatch.setenv(f"KEY_{letter}", letter.lower())
    made = World()
    clock = Clock(monotonic=lambda: made.now, wall=lambda: 1e9 + made.now, chance=lambda: 0.5)

    def sleep(seconds):
        made.now += seconds

    async def pause(seconds):
        made.now += seconds

    async def send(asked):
        return made.answer(asked)

    with asyncio.Runner() as runner:

        def policy(**settings):
            whole = Policy(**{"cache": None, "targets": KEYS, "hooks": (made.rows.append,), **settings})
            if request.param == "threads":
                made.call = Driver(whole, made.answer, clock=clock, sleep=sleep)
            else:
                driver = AsyncDriver(whole, send, clock=clock, sleep=pause)
                made.call = lambda asked: runner.run(driver(asked))

        made.policy = policy
        yield made


LIMITED = (429, b"{}", ("retry-after", "20"))


def test_attempts_are_spread_by_weight(world):
    """Of 600 calls each key gets its share exactly, and never two turns in a row more than its weight asks for.

    Negative control: without targets all of them go where the client itself points.
    """
    world.policy(targets=(Target(api_key_env="KEY_A", weight=3), Target(api_key_env="KEY_B", weight=2), KEYS[2]))
    for _ in range(600):
        world.call(request())
    assert Counter(world.keys) == {"a": 300, "b": 200, "c": 100}
    assert world.keys[:6] == ["a", "b", "a", "c", "b", "a"]
    world.seen.clear()
    world.policy(targets=())
    world.call(request())
    assert world.keys == ["own"]


def test_two_models_in_turn_are_both_spread(world):
    """Calls that alternate between two models share each of them among both keys; one counter for both would not."""
    world.policy(targets=KEYS[:2])
    for number in range(40):
        world.call(request("one" if number % 2 else "two"))
    found = Counter((key, orjson.loads(asked.body)["model"]) for key, asked in world.seen)
    assert set(found.values()) == {10}


def test_a_key_at_its_rate_limit_gets_nothing_until_it_may(world):
    """One of three keys says 429 for 20 s: one attempt finds out, nobody waits, and it takes part again afterwards.

    Negative control: without a `Retry-After` it is asked again after about a second.
    """
    world.answers["b"] = lambda now: LIMITED if now < 1020 else 200
    world.policy()
    for _ in range(60):
        assert world.call(request()).status == 200
    assert Counter(world.keys) == {"a": 30, "b": 1, "c": 30}
    assert world.now == 1000.0, "no call waited"
    world.now = 1020.5
    world.seen.clear()
    for _ in range(60):
        world.call(request())
    assert Counter(world.keys) == {"a": 20, "b": 20, "c": 20}
    world.answers["b"] = (429, b"{}")
    for _ in range(6):
        world.call(request())
    world.now += 1.1
    world.seen.clear()
    for _ in range(3):
        world.call(request())
    assert Counter(world.keys)["b"] == 1


QUOTA = (429, b'{"error": {"code": "insufficient_quota"}}')


@pytest.mark.parametrize("refusal", [QUOTA, (402, b"{}"), (401, b"{}"), (403, b"{}"), (404, b"{}")])
def test_a_key_that_somebody_has_to_repair_is_left_alone_for_long(world, refusal):
    """Without quota, with a wrong key or without the model: no caller notices, and it is asked once in five minutes.

    Negative control: a wrong request is wrong everywhere, and goes to one key only.
    """
    world.answers["a"] = refusal
    world.policy(retry=Retry(budget=0.0, budget_burst=0))
    for _ in range(30):
        assert world.call(request()).status == 200
        world.now += 9
    assert Counter(world.keys)["a"] == 1
    world.now += 60
    for _ in range(3):
        world.call(request())
    assert Counter(world.keys)["a"] == 2
    world.answers = dict.fromkeys("abc", (400, b"{}"))
    world.seen.clear()
    assert world.call(request()).status == 400
    assert len(world.seen) == 1


def test_when_all_are_refused_the_provider_says_so(world):
    """With no quota anywhere each key is tried once, the caller gets the 429, and so does the next one at once."""
    world.answers = dict.fromkeys("abc", QUOTA)
    world.policy()
    assert world.call(request()).body == QUOTA[1]
    assert Counter(world.keys) == {"a": 1, "b": 1, "c": 1}
    assert world.call(request()).body == QUOTA[1]
    assert len(world.keys) == 4
    assert world.now == 1000.0


@pytest.mark.parametrize("failure", [503, wire.Unanswered("connection", "reset"), wire.Unanswered("timeout", "slow")])
def test_a_key_that_is_down_is_passed_over_and_costs_no_caller(world, failure):
    """Ten calls a second for half a minute with one of three keys down: all are answered, few attempts are lost.

    Negative control: with all three down, the call fails after its attempts.
    """
    world.answers["a"] = failure
    world.policy()
    for _ in range(300):
        assert world.call(request()).status == 200
        world.now += 0.1
    assert Counter(world.keys)["a"] < 20
    world.answers = dict.fromkeys("abc", failure)
    before = len(world.seen)
    try:
        assert world.call(request()).status == 503
    except openai.APIConnectionError:
        assert failure != 503
    assert len(world.seen) - before == 4


def test_when_all_cool_down_the_first_to_be_ready_is_waited_for(world):
    """All keys are limited, for 20, 5 and 9 s: the call waits 5 s for the second one, and tells so.

    Negative control: with a deadline of 3 s it fails at once, without an attempt.
    """
    waits = {"a": 20, "b": 5, "c": 9}

    def limited(key):
        return lambda now: (429, b"{}", ("retry-after", str(waits[key]))) if now < 1000 + waits[key] else 200

    world.answers = {key: limited(key) for key in waits}
    world.policy()
    assert world.call(request()).status == 200
    assert world.keys == ["a", "b", "c", "b"]
    assert 1005 <= world.now < 1006
    world.answers = dict.fromkeys("abc", LIMITED)
    world.policy(limits=Limits(deadline_s=3))
    assert world.call(request()).status == 429
    world.seen.clear()
    with pytest.raises(DeadlineExceeded, match="every target cools down") as caught:
        world.call(request())
    assert caught.value.waited_for == "target"
    assert caught.value.retry_after_s > 3
    assert world.seen == []


def test_fallbacks_come_after_all_targets_and_before_any_wait(world, monkeypatch):
    """All keys are limited: the fallback answers at once, for the first call and for the next."""
    monkeypatch.setenv("KEY_F", "f")
    world.answers = dict.fromkeys("abc", LIMITED)
    world.policy(fallbacks=(Fallback(model="gpt-4o", api_key_env="KEY_F"),))
    assert world.call(request()).status == 200
    assert sorted(world.keys[:3]) == ["a", "b", "c"]
    assert world.keys[3:] == ["f"]
    assert world.call(request()).status == 200
    assert world.keys[4:] == ["f"]
    assert world.now == 1000.0


def test_one_attempt_is_one_attempt(world):
    """Without `Retry` a failure is the caller's, whatever other keys there are. With it, it is not."""
    world.answers["a"] = LIMITED
    world.policy(retry=None)
    assert world.call(request()).status == 429
    world.policy()
    assert world.call(request()).status == 200


def test_the_credential_of_one_origin_never_goes_to_another(world):
    """Another origin gets its own key or none, and nothing of the caller's account, in whatever header or query."""
    secrets = (("x-goog-api-key", "s1"), ("cf-aig-authorization", "s2"), ("cookie", "s3"), ("openai-project", "s4"))
    url = URL + "?api-version=1&key=s5"
    world.policy(targets=(Target("http://other/v1"), Target("http://third/x/v1/", "KEY_B"), Target()))
    for _ in range(3):
        world.call(request(url=url, headers=(*secrets, ("x-kept", "kept"))))
    other, third, own = (asked for _, asked in world.seen)
    assert other.url == "http://other/v1/chat/completions?api-version=1"
    assert third.url == "http://third/x/v1/chat/completions?api-version=1"
    assert [wire.header(asked.headers, "authorization") for asked in (other, third, own)] == [
        None, "Bearer b", "Bearer own"]  # fmt: skip
    for asked in (other, third):
        assert wire.header(asked.headers, "x-kept") == "kept"
        assert not any(f"s{number}" in f"{asked.url} {asked.headers}" for number in range(1, 6))
    assert all(f"s{number}" in f"{own.url} {own.headers}" for number in range(1, 6)), "negative control"


def test_azure_gets_its_key_in_its_own_header(world):
    """The key of a deployment of Azure is sent as `api-key`; negative control: another host gets a bearer."""
    azure = Target("https://east.openai.azure.com/openai/v1", "KEY_A", model="prod")
    world.policy(targets=(azure, KEYS[1]))
    for _ in range(2):
        world.call(request())
    (_, first), (_, second) = world.seen
    assert first.url == "https://east.openai.azure.com/openai/v1/chat/completions"
    assert (wire.header(first.headers, "api-key"), wire.header(first.headers, "authorization")) == ("a", None)
    assert orjson.loads(first.body)["model"] == "prod"
    assert (wire.header(second.headers, "api-key"), wire.header(second.headers, "authorization")) == (None, "Bearer b")
    assert orjson.loads(second.body)["model"] == "gpt-4o-mini"


def test_a_target_serves_the_models_that_it_names(world):
    """Embeddings do not go to a deployment of a chat model; a model that no target serves goes to the client's own."""
    world.policy(targets=(Target(api_key_env="KEY_A", model="prod", serves=("gpt-4o",)),
                          Target(api_key_env="KEY_B", serves=("embed", "gpt-4o"))))  # fmt: skip
    for model in ("gpt-4o", "gpt-4o", "embed", "embed", "other"):
        world.call(request(model))
    assert world.keys == ["a", "b", "b", "b", "own"]


def test_the_cache_key_is_the_callers_own(world):
    """An answer of any target answers the same request again; negative control: another request is sent."""
    world.policy(cache=Cache(store=Memory()))
    for _ in range(4):
        world.call(request(temperature=0))
    assert world.keys == ["a"]
    world.call(request(temperature=0, seed=1))
    assert world.keys == ["a", "b"]


STATE = [
    {"url": "http://own/v1/responses"}, {"store": True}, {"previous_response_id": "r"},
    {"url": "http://own/v1/responses", "store": False, "conversation": "c"}, {"url": "http://own/v1/files"},
    {"url": "http://own/v1/batches"}, {"url": "http://own/v1/responses/r/cancel"},
]  # fmt: skip


@pytest.mark.parametrize("kept", STATE)
def test_what_a_later_call_has_to_find_is_not_spread(world, kept):
    """Calls with state at the provider go where the client itself points; negative control: others are spread."""
    world.policy()
    for _ in range(3):
        world.call(request(**kept))
    assert world.keys == ["own"] * 3
    for path in ("responses", "images/generations", "moderations"):
        world.seen.clear()
        for _ in range(3):
            world.call(request(url=f"http://own/v1/{path}", store=False))
        assert world.keys == ["a", "b", "c"]


def test_the_failures_of_one_model_or_caller_cool_nothing_down_for_others(world):
    """A model that is nowhere, and a caller's own wrong key, leave other models and callers all targets."""
    world.answers["a"] = lambda _: (404, b"{}") if b"nowhere" in world.seen[-1][1].body else 200
    world.policy(targets=(KEYS[0], Target()))
    for _ in range(2):
        world.call(request("nowhere"))
    world.answers["wrong"] = (401, b"{}")
    world.call(wire.Request("POST", URL, (("authorization", "Bearer wrong"),), request().body))
    world.seen.clear()
    for _ in range(4):
        assert world.call(request()).status == 200
    assert Counter(world.keys) == {"a": 2, "own": 2}


def test_every_attempt_carries_the_same_idempotency_key(world):
    """Also when the attempts go to several keys."""
    world.answers["a"] = world.answers["b"] = LIMITED
    world.policy()
    world.call(request())
    tags = {wire.header(asked.headers, "idempotency-key") for _, asked in world.seen}
    assert len(world.seen) == 3
    assert len(tags) == 1
    assert None not in tags


def test_rows_count_every_attempt_and_price_the_answer_of_its_target(world):
    """Two attempts are one row with both; the models of all targets are held against the limit of what is spent."""
    world.answers["a"] = LIMITED
    world.policy()
    world.call(request())
    assert [row.attempts for row in world.rows] == [2]
    world.policy(targets=(Target(api_key_env="KEY_B", model="nobodys-price"),), spend=Spend(max_usd=1.0))
    with pytest.raises(openai.APIError, match="nobodys-price"):
        world.call(request())


def test_an_open_circuit_is_passed_over(world):
    """A key whose circuit is open gets nothing; when all are open, the call waits for the first, or fails in time."""
    world.answers["a"] = 500
    world.policy(targets=KEYS[:2], limits=Limits(breaker=Breaker(min_calls=2, open_s=30)), retry=Retry(budget=None))
    for _ in range(20):
        assert world.call(request()).status == 200
        world.now += 1
    assert Counter(world.keys)["a"] == 2
    world.answers["b"] = 500
    found = [world.call(request()).status for _ in range(2)]
    assert found == [500, 500]
    world.policy(targets=KEYS[:1], limits=Limits(deadline_s=9, breaker=Breaker(min_calls=1, open_s=30)), retry=None)
    assert world.call(request()).status == 500
    with pytest.raises(DeadlineExceeded, match="every target cools down"):
        world.call(request())
    world.policy(targets=KEYS[:1], limits=Limits(breaker=Breaker(min_calls=1, open_s=100)), retry=None)
    assert world.call(request()).status == 500
    with pytest.raises(CircuitOpen, match="every target cools down"):
        world.call(request())


WRONG = [
    ({"base_url": "api.openai.com"}, "base_url"), ({"base_url": "https://u:sk-secret@h/v1"}, "credential"),
    ({"base_url": "https://h/v1?key=sk-secret"}, "credential"), ({"base_url": "http://"}, "host"),
    ({"base_url": "http://h:99999/v1"}, "host"), ({"weight": 0}, "weight"), ({"weight": float("nan")}, "weight"),
    ({"weight": 1e9}, "weight"), ({"serves": "gpt-4o"}, "serves"), ({"api_key_env": 3}, "api_key_env"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "named"), WRONG)
def test_a_senseless_target_is_refused_by_name(settings, named):
    """The mistake names the setting, and never shows a credential."""
    with pytest.raises(ValueError, match=rf"Target\(.*{named}") as caught:
        Target(**settings)
    assert "sk-secret" not in str(caught.value)


def test_targets_that_cannot_be_are_refused_when_the_policy_or_the_client_is_made(world, monkeypatch):
    """The same target twice, something else than a target, and a variable that is not set."""
    with pytest.raises(ValueError, match=r"targets\[1\] is targets\[0\] again"):
        Policy(targets=(Target(api_key_env="KEY_A"), Target(api_key_env="KEY_A", weight=2)))
    with pytest.raises(ValueError, match="targets=Target"):
        Policy(targets=Target())
    monkeypatch.delenv("KEY_B")
    with pytest.raises(ValueError, match=r"targets\[1\].*KEY_B is not set"):
        world.policy()


def test_each_target_has_rates_of_its_own(world):
    """Sixty a minute for each of two keys: 120 calls take as long as 60 at one key. Negative control: one key."""
    took = []
    for targets in (KEYS[:2], KEYS[:1]):
        world.policy(targets=targets, limits=Limits(requests_per_min=60), retry=None)
        began = world.now
        for _ in range(120):
            world.call(request())
        took.append(world.now - began)
    assert took == [pytest.approx(50, abs=1), pytest.approx(110, abs=1)]


def test_an_answer_of_a_target_is_not_booked_as_that_of_a_fallback(world):
    """Rows say `fallback` only where one answered; negative control: all targets fail, and one does."""
    calls = []
    world.policy(hooks=(calls.append,), fallbacks=(Fallback(model="gpt-4o"),), retry=Retry(attempts=1))
    assert world.call(request()).status == 200
    world.answers = {"a": LIMITED, "b": LIMITED, "c": (500, b"{}")}
    assert world.call(request()).status == 200
    assert [row.fallback for row in calls] == [False, True]


def test_each_attempt_is_told_with_its_target_and_no_key(world):
    """Rows of attempts name the target by its settings; a fallback is none of them."""
    told = []
    world.answers = {"a": LIMITED, "b": LIMITED, "c": (500, b"{}")}
    world.policy(attempt_hooks=(told.append,), fallbacks=(Fallback(model="gpt-4o"),), retry=Retry(attempts=1))
    assert world.call(request()).status == 200
    assert [(row.target, row.cause) for row in told] == [
        ("KEY_A", "rate_limit"), ("KEY_B", "rate_limit"), ("KEY_C", "server"), ("", None)]  # fmt: skip


def test_a_predicate_can_keep_a_call_from_another_target(world):
    """`retry_if` that says no is obeyed; negative control: one that leaves it to the policy."""
    world.answers["a"] = LIMITED
    world.policy(retry=Retry(retry_if=lambda _: False))
    assert world.call(request()).status == 429
    world.policy(retry=Retry(retry_if=lambda _: None))
    assert world.call(request()).status == 200
