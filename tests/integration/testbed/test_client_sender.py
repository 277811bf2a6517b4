"""The resilient client as the load generator drives it: what it records of hits, retries, failures and streams."""

import asyncio

import orjson
import pytest

from tailrace.testbed import client_sender

PLAIN = {"retry": False, "cache": False, "attempt_timeout_s": 0.5, "deadline_s": 3.0}


@pytest.fixture
def ask(provider):
    """Ask the same question as often as said, through one client, and return the outcomes."""

    def asking(times: int = 1, *, stream: bool = False, question: str = "hello", **allowed):
        async def all_of_them():
            sender = await client_sender.client({"url": provider.url, **PLAIN, **allowed})
            body = {"model": client_sender.MODEL, "temperature": 0, "messages": [{"role": "user", "content": question}]}
            if stream:
                body |= {"stream": True, "stream_options": {"include_usage": True}}
            outcomes = [await sender(n, orjson.dumps(body), stream) for n in range(times)]
            await sender.aclose()
            return outcomes

        return asyncio.run(all_of_them())

    yield asking
    provider.repair()


def test_a_plain_call_is_recorded_with_its_tokens_and_cost(ask):
    """One attempt, answered by the provider."""
    (seen,) = ask()
    assert (seen.error_type, seen.status, seen.attempts, seen.cache) == ("", 200, 1, "bypass")
    assert seen.in_tok > 0
    assert seen.out_tok > 0
    assert seen.cost_microusd > 0
    assert seen.first_ns <= seen.last_ns


def test_a_hit_costs_nothing_and_asks_nobody(ask, provider):
    """The second time, the provider is not asked."""
    before = provider.stats()["requests"]
    first, second = ask(2, question="what is asked twice", cache=True)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert (second.attempts, second.cost_microusd) == (0, 0)
    assert provider.stats()["requests"] == before + 1


def test_a_retry_is_recorded_with_its_attempts_and_its_waiting(ask, provider):
    """A failure that is retried is a late success; without retries it is a failure."""
    provider.inject({"kind": "error500", "count": 1})
    (seen,) = ask(retry=True)
    assert (seen.error_type, seen.attempts) == ("", 2)
    assert seen.backoff_us > 0
    provider.inject({"kind": "error500", "count": 1})
    (seen,) = ask()
    assert (seen.error_type, seen.status, seen.attempts) == ("http_500", 500, 1)


def test_a_hang_is_a_timeout(ask, provider):
    """The attempt's own limit ends it."""
    with provider.broken({"kind": "hang", "count": 1}):
        (seen,) = ask()
    assert seen.error_type == "timeout"


def test_a_stream_is_recorded_chunk_by_chunk(ask):
    """With the time of its first chunk, and the usage of its last."""
    (seen,) = ask(stream=True)
    assert seen.chunks > 1
    assert 0 < seen.first_ns <= seen.last_ns
    assert seen.out_tok > 0


def test_the_rehearsal_asks_nobody(ask, provider):
    """What warms the client up is not seen by the provider."""
    before = provider.stats()["requests"]
    assert ask(0) == []
    assert provider.stats()["requests"] == before


@pytest.mark.parametrize("arm", client_sender.CLIENT_FORMS)
def test_each_arm_is_what_its_name_says(arm):
    """Retries and cache are on or off; both arms have the same time limits."""
    chosen = client_sender.policy(**client_sender.CLIENT_FORMS[arm], attempt_timeout_s=1.0, deadline_s=5.0)
    assert (chosen.retry is not None) == (arm in ("retrying", "both"))
    assert (chosen.cache is not None) == (arm in ("cached", "both"))
