"""Retries and deadlines over real HTTP."""

import asyncio
import random
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import openai
import pytest

from tailrace import AsyncOpenAI, Limits, OpenAI, Policy, Retry, limits, transport
from tailrace.client import ConnectionFailed, DeadlineExceeded, TimedOut

ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
QUICK = Retry(base_s=0.01, cap_s=0.05)


@pytest.fixture
def client(simulator, key):
    """A client of the simulator with quick retries, whose rows are in `client.calls`."""
    calls = []
    policy = Policy(cache=None, retry=QUICK, limits=Limits(attempt_timeout_s=0.5, breaker=None), hooks=(calls.append,))
    with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as made:
        made.calls = calls
        yield made


RETRIED = [{"kind": "rate_limit", "retry_after_s": 0}, {"kind": "error500"}, {"kind": "error503"}, {"kind": "hang"},
           {"kind": "reset"}]  # fmt: skip


@pytest.mark.parametrize("fault", RETRIED, ids=[fault["kind"] for fault in RETRIED])
@pytest.mark.parametrize("stream", [False, True])
def test_what_may_be_another_next_time_is_asked_again(client, simulator, fault, stream):
    """429, 500, 503, a hang and a reset are retried, streams too before their first byte; headers count attempts."""
    simulator.faults({**fault, "count": 2})
    answer = client.chat.completions.with_raw_response.create(**ASK, stream=stream)
    assert answer.headers["x-tailrace-attempts"] == "3"
    assert not stream or len(list(answer.parse())) > 3
    assert simulator.requests == 3
    assert client.calls[-1].attempts == 3
    assert client.calls[-1].outcome == "ok"


NOT_RETRIED = [({"kind": "quota"}, openai.RateLimitError, 1), ({"kind": "error500"}, openai.InternalServerError, 4),
               ({"kind": "reset"}, ConnectionFailed, 4)]  # fmt: skip


@pytest.mark.parametrize(("fault", "error", "attempts"), NOT_RETRIED, ids=["quota", "always 500", "always reset"])
def test_what_stays_the_same_is_raised_as_the_sdk_raises_it(client, simulator, fault, error, attempts):
    """An exhausted quota is tried once; other errors as often as the policy says, and then they are raised."""
    simulator.faults(fault)
    with pytest.raises(error) as caught:
        client.chat.completions.create(**ASK)
    assert simulator.requests == attempts
    assert client.calls[-1].outcome == "error"
    assert client.calls[-1].attempts == caught.value.attempts == attempts
    assert caught.value.elapsed_s > 0
    if error is ConnectionFailed:
        assert isinstance(caught.value, openai.APIConnectionError)
        assert caught.value.attempts == 4
        assert caught.value.elapsed_s > 0
        assert caught.value.__cause__ is not None


ROWS = {
    "408": (408, "", {}, 2), "409": (409, "", {}, 2), "429 rate": (429, "rate_limit_exceeded", {}, 2),
    "500": (500, "", {}, 2), "502": (502, "", {}, 2), "503": (503, "", {}, 2), "504": (504, "", {}, 2),
    "529": (529, "", {}, 2), "400 but do": (400, "", {"x-should-retry": "true"}, 2),
    "429 quota": (429, "insufficient_quota", {}, 1), "429 billing": (429, "billing_hard_limit_reached", {}, 1),
    "400 context length": (400, "context_length_exceeded", {}, 1), "400": (400, "", {}, 1), "401": (401, "", {}, 1),
    "403": (403, "", {}, 1), "404": (404, "", {}, 1), "413": (413, "", {}, 1), "422": (422, "", {}, 1),
    "500 but do not": (500, "", {"x-should-retry": "false"}, 1),
}  # fmt: skip


@pytest.mark.parametrize(("status", "code", "headers", "asked"), ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_each_row_of_the_classification_over_http(provider, make, key, status, code, headers, asked, stream):
    """Errors that may pass are retried and answered; others are raised at once."""
    body = b'{"error": {"message": "no", "code": "%b"}}' % code.encode()
    provider.answers = [make.answer(status, body, headers)]
    raised = pytest.raises(openai.APIStatusError) if asked == 1 else nullcontext()
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=None, retry=QUICK)) as client, raised:
        list(client.chat.completions.create(**ASK, stream=stream))
    assert len(provider.seen) == asked


def test_the_context_length_of_a_model_is_tried_once(simulator, key):
    """The simulator refuses a prompt that is too long for the model; it is not retried."""
    with (
        OpenAI(api_key=key, base_url=simulator.url, policy=Policy(retry=QUICK)) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.embeddings.create(model="text-embedding-3-small", input="word " * 20_000)
    assert caught.value.code == "context_length_exceeded"
    assert simulator.requests == 1


def in_two_s():
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # whole seconds: one at the least


@pytest.mark.parametrize(
    ("name", "value", "least_s"),
    [("retry-after", lambda: "0.4", 0.4), ("retry-after-ms", lambda: "400", 0.4), ("retry-after", in_two_s, 0.8)],
    ids=["seconds", "milliseconds", "date"],
)
def test_what_the_provider_asks_to_wait_is_waited(provider, make, key, name, value, least_s):
    """In each form of the header, the second attempt comes no earlier, and the wait is reported."""
    calls = []
    provider.answers = [make.answer(429, b"{}", {name: value()})]
    policy = Policy(cache=None, retry=QUICK, hooks=(calls.append,))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        began = time.perf_counter()
        answer = client.chat.completions.with_raw_response.create(**ASK)
        assert least_s <= time.perf_counter() - began < least_s + 30
    assert int(answer.headers["x-tailrace-backoff-us"]) >= least_s * 1e6
    assert calls[0].backoff_s >= least_s
    assert len(calls[0].attempts_s) == calls[0].attempts == 2


def test_a_provider_that_asks_for_too_long_is_not_waited_for(provider, make, key):
    """Beyond `max_retry_after_s` the provider's answer is returned at once."""
    provider.usual = lambda seen: make.answer(429, b"{}", {"retry-after": "60"})
    policy = Policy(cache=None, retry=Retry(max_retry_after_s=2))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        began = time.perf_counter()
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**ASK)
        assert time.perf_counter() - began < 30
    assert len(provider.seen) == 1


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_a_stream_that_breaks_before_its_first_byte_is_asked_again(provider, make, key, kind):
    """Status and headers without any body count as no answer."""
    head = make.answer(headers={"content-type": "text/event-stream"}, chunks=(), cut=True)
    provider.answers = [head]
    client = kind(api_key=key, base_url=provider.url, policy=Policy(cache=None, retry=QUICK))

    async def asynchronous():
        async with client:
            return len([chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)])

    if kind is OpenAI:
        with client:
            assert len(list(client.chat.completions.create(**ASK, stream=True))) == 3
    else:
        assert asyncio.run(asynchronous()) == 3
    assert len(provider.seen) == 2


def test_a_stream_is_not_asked_again_after_its_first_byte(client, simulator):
    """A stream that breaks while it is read raises an error in the reader, and is not retried."""
    simulator.faults({"kind": "cut_stream"})
    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(**ASK, stream=True))
    assert simulator.requests == 1
    assert client.calls[-1].outcome == "error"


def test_each_attempt_has_its_own_time(client, simulator):
    """Each attempt at a provider that hangs ends after its timeout; then the SDK's timeout error is raised."""
    simulator.faults({"kind": "hang"})
    began = time.perf_counter()
    with pytest.raises(TimedOut) as caught:
        client.with_options(timeout=300).chat.completions.create(**ASK)
    assert isinstance(caught.value, openai.APITimeoutError)
    assert 1.9 < time.perf_counter() - began < 60


@pytest.mark.parametrize("kind", ["hang", "rate_limit", "slow"])
def test_the_deadline_holds_waiting_and_all(simulator, key, kind):
    """With a deadline of 0.5 s the call ends by then, however the provider delays it, in both forms of the client."""
    simulator.faults({"kind": kind, **({"retry_after_s": 0.3} if kind == "rate_limit" else {})})
    policy = Policy(cache=None, retry=Retry(attempts=100, base_s=0.05, budget=None), limits=Limits(deadline_s=0.5))
    expected = openai.RateLimitError if kind == "rate_limit" else DeadlineExceeded

    async def asynchronous():
        async with AsyncOpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
            await client.chat.completions.create(**ASK)

    def synchronous():
        with OpenAI(api_key=key, base_url=simulator.url, policy=policy) as client:
            client.chat.completions.create(**ASK)

    for run in (synchronous, lambda: asyncio.run(asynchronous())):
        began = time.perf_counter()
        with pytest.raises(expected):
            run()
        assert time.perf_counter() - began < 20


def test_a_wait_that_does_not_fit_fails_now(provider, make, key):
    """When the provider demands a wait beyond the deadline, its answer is returned at once, without a sleep."""
    provider.usual = lambda seen: make.answer(429, b"{}", {"retry-after": "600"})
    with OpenAI(api_key=key, base_url=provider.url) as client:
        began = time.perf_counter()
        with limits(deadline_s=60), pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**ASK)
        assert time.perf_counter() - began < 30
    assert len(provider.seen) == 1


def test_the_idempotency_key_is_the_same_on_every_attempt(provider, make, key):
    """Attempts share their call's key, two calls have two, however `random` is seeded; a caller's own is kept."""
    provider.answers = [make.answer(500, b"{}"), make.answer(500, b"{}")]
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=None, retry=QUICK)) as client:
        random.seed(1)
        client.chat.completions.create(**ASK)
        random.seed(1)
        client.chat.completions.create(**ASK)
        client.chat.completions.create(**ASK, extra_headers={"Idempotency-Key": "mine"})
    keys = [seen.headers["idempotency-key"] for seen in provider.seen]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[4] == "mine"


def test_an_outage_does_not_multiply(provider, make, key):
    """With a budget, 100 calls that all fail make about 130 attempts, not 400."""
    provider.usual = lambda seen: make.answer(500, b"{}")
    policy = Policy(cache=None, retry=Retry(base_s=0.001, cap_s=0.002))
    with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
        for _ in range(100):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**ASK)
    assert 120 <= len(provider.seen) <= 135


def test_a_stock_client_that_retries_as_well_is_warned_of(provider, make, key):
    """A stock client's own retries over our transport make 4 × 3 attempts for one call, and a warning."""
    provider.usual = lambda seen: make.answer(500, b"{}")
    with httpx2.Client(transport=transport(Policy(retry=Retry(base_s=0.001, cap_s=0.002)))) as http:
        stock = openai.OpenAI(api_key=key, base_url=provider.url, http_client=http, max_retries=2)
        with pytest.warns(RuntimeWarning, match="max_retries=0"), pytest.raises(openai.InternalServerError):
            stock.models.list()
    assert len(provider.seen) == 12


def test_the_sdks_own_retries_are_off_or_warned_of(simulator, key):
    """The SDK does not retry; turning it on gives a warning with the number of attempts."""
    with OpenAI(api_key=key, base_url=simulator.url) as client:
        assert client.max_retries == 0
        with pytest.warns(RuntimeWarning, match="12 attempts"):
            client.with_options(max_retries=2)
