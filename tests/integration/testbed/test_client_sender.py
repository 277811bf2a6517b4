"""The resilient client as the load generator drives it: what it records of hits, retries, failures and streams."""

import asyncio

import orjson
import pytest

from tailrace import analysis, load
from tailrace.errors import LoadError
from tailrace.load.gaps import GapKeeper
from tailrace.testbed import client_sender

PLAIN = {"retry": False, "cache": False, "attempt_timeout_s": 0.5, "deadline_s": 3.0}


@pytest.fixture
def ask(provider):
    """Return a function that asks one question several times through one client, and returns the outcomes."""

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
    (outcome,) = ask()
    assert (outcome.error_type, outcome.status, outcome.attempts, outcome.cache) == ("", 200, 1, "bypass")
    assert outcome.in_tok > 0
    assert outcome.out_tok > 0
    assert outcome.cost_microusd > 0
    assert outcome.first_ns <= outcome.last_ns


def test_a_hit_costs_nothing_and_sends_nothing(ask, provider):
    """The provider gets the first request only."""
    before = provider.stats()["requests"]
    first, second = ask(2, question="a question put twice", cache=True)
    assert (first.cache, second.cache) == ("miss", "hit")
    assert (second.attempts, second.cost_microusd) == (0, 0)
    assert provider.stats()["requests"] == before + 1


def test_a_retry_is_recorded_with_its_attempts_and_its_waiting(ask, provider):
    """A failure that is retried is a late success; without retries it is a failure."""
    provider.inject({"kind": "error500", "count": 1})
    (outcome,) = ask(retry=True)
    assert (outcome.error_type, outcome.attempts) == ("", 2)
    assert outcome.backoff_us > 0
    provider.inject({"kind": "error500", "count": 1})
    (outcome,) = ask()
    assert (outcome.error_type, outcome.status, outcome.attempts) == ("http_500", 500, 1)


def test_a_hang_is_a_timeout(ask, provider):
    """The attempt's own limit ends it."""
    with provider.broken({"kind": "hang", "count": 1}):
        (outcome,) = ask()
    assert outcome.error_type == "timeout"


def test_a_stream_is_recorded_chunk_by_chunk(ask):
    """With the time of its first chunk, the usage of its last, and the gaps between as the recorder takes them."""
    (outcome,) = ask(stream=True)
    keeper = GapKeeper()
    keeper.add((0,) * 5, 0, outcome.gaps_us)
    assert len(keeper) == len(outcome.gaps_us) == outcome.chunks - 1
    assert outcome.chunks > 1
    assert 0 < outcome.first_ns <= outcome.last_ns
    assert outcome.out_tok > 0


def test_the_rehearsal_sends_the_provider_nothing(ask, provider):
    """The provider does not see the calls that warm the client up."""
    before = provider.stats()["requests"]
    assert ask(0) == []
    assert provider.stats()["requests"] == before


@pytest.mark.parametrize("form", client_sender.CLIENT_FORMS)
def test_each_form_is_what_its_name_says(form):
    """Retries and cache are on or off; all forms have the same time limits."""
    chosen = client_sender.policy(**client_sender.CLIENT_FORMS[form], attempt_timeout_s=1.0, deadline_s=5.0)
    assert (chosen.retry is not None) == (form in ("retrying", "both"))
    assert (chosen.cache is not None) == (form in ("cached", "both"))


def test_a_generator_process_keeps_the_streams_of_a_client_with_a_key(provider, tmp_path, monkeypatch):
    """Headers are filled in there; first token, gaps and the cost of each stream are on record."""
    monkeypatch.setenv("A_KEY", "pearl")
    options = {**PLAIN, "headers": {"authorization": "Bearer ${A_KEY}"}, "attempt_timeout_s": 30, "deadline_s": 60}
    traffic = load.Traffic(load.arrivals.constant(20, 0.5), load.Workload(stream_share=1.0, extra={"top_k": 3}))
    summary = load.run(traffic, provider.url, tmp_path, client_sender.SENDER, options)
    records = analysis.read(tmp_path)
    assert (summary.sent, summary.errors, len(records)) == (10, 0, 10)
    assert (records["last_token_us"] > records["ttfc_us"]).all()
    assert (records["cost_microusd"] > 0).all()
    assert list(tmp_path.glob("itl-*.parquet"))


def test_a_key_that_is_not_set_is_named_before_anything_is_sent(provider, tmp_path):
    """The generator process refuses it."""
    options = {**PLAIN, "headers": {"authorization": "Bearer ${NO_SUCH_KEY}"}}
    with pytest.raises(LoadError, match="environment variable NO_SUCH_KEY is not set"):
        load.run(load.Traffic(load.arrivals.constant(1, 1)), provider.url, tmp_path, client_sender.SENDER, options)
