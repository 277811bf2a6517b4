"""The resilient client as the load generator drives it: what it records of hits, retries, failures and streams."""

import asyncio
import contextlib
import time

import orjson
import pytest

from event_streams import DONE, ROLE, STOP, A, B, delta, event, usage
from tailrace import analysis, load
from tailrace.errors import LoadError
from tailrace.load import RequestOutcome
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
    assert 0 < outcome.byte_ns <= outcome.last_ns
    assert outcome.first_ns == outcome.token_ns == 0, "a plain answer has no times of tokens"


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


THOUGHT = delta(reasoning_content="hm")
COUNTS = usage(7, 9, completion_tokens_details={"reasoning_tokens": 6}, prompt_tokens_details={"cached_tokens": 4})


def sent(*documents: object) -> tuple[RequestOutcome, dict[int, int]]:
    """Return the outcome of a stream of these events, and when the server sent the n-th of them, in ns."""
    sent_ns: dict[int, int] = {}
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n")
        with contextlib.suppress(ConnectionError):  # the client leaves when it has what it needs
            for n, document in enumerate(documents):
                sent_ns[n] = time.perf_counter_ns()
                writer.write(event(document))
                await writer.drain()
                await asyncio.sleep(0.02)
            writer.close()
            await writer.wait_closed()
        ended.set()

    async def go() -> RequestOutcome:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            sender = await client_sender.client({"url": url, **PLAIN, "attempt_timeout_s": 30, "deadline_s": 60})
            body = {"model": "m", "messages": [{"role": "user", "content": "q"}], "stream": True}
            try:
                return await sender(0, orjson.dumps(body), True)
            finally:
                await sender.aclose()
                await ended.wait()

    return asyncio.run(go()), sent_ns


def test_the_tokens_of_a_stream_are_told_by_the_rules_of_the_protocol():
    """A role is no token, reasoning is apart from the answer, and no token is told before the server sent it."""
    outcome, sent_ns = sent(ROLE, THOUGHT, A, B, STOP, COUNTS, DONE)
    assert (outcome.error_type, outcome.chunks, len(outcome.gaps_us)) == ("", 3, 2)
    assert (outcome.in_tok, outcome.out_tok, outcome.cached_tok, outcome.reasoning_tok) == (7, 9, 4, 6)
    assert sent_ns[1] <= outcome.first_ns < outcome.answer_ns < outcome.token_ns <= outcome.last_ns
    assert outcome.answer_ns >= sent_ns[2]
    assert outcome.token_ns >= sent_ns[3]
    assert outcome.byte_ns < outcome.first_ns, "the role came before the first token"


@pytest.mark.parametrize(
    ("documents", "expected"),
    [
        ((ROLE, A, {"error": {"message": "boom", "code": 500}}, DONE), "error_event"),
        ((ROLE, STOP, DONE), "empty_answer"),
        ((ROLE, A), "cut_stream"),
        ((ROLE, A, STOP, DONE), ""),
    ],
)
def test_a_stream_fails_by_the_class_of_the_protocol(documents, expected):
    """An error, nothing at all and a missing end are told apart, as in the load generator's own sender."""
    assert sent(*documents)[0].error_type == expected


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
