"""Spend limits over HTTP: operations of every kind, budgets in a store, and a store that fails."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time

import pytest

from tailrace import AsyncOpenAI, Cache, OpenAI, Policy, Price, Retry, Spend, Sqlite
from tailrace.client import BudgetExceeded, PriceUnknown
from tailrace.client.limiters.spend import SpendLimiter

ASK = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}


def posted(client, path, **body):
    """Post JSON, as the SDK does for an operation that it does not know, or that is deprecated in it."""
    return client.post(path, body=body, cast_to=object)


OPERATIONS = {
    "images.generate": lambda one: one.images.generate(model="gpt-image-1", prompt="x"),
    "images.edit": lambda one: one.images.edit(model="gpt-image-1", image=("a.png", b"x"), prompt="x"),
    "images.edit without a model": lambda one: one.images.edit(image=("a.png", b"x"), prompt="x"),
    "audio.speech": lambda one: one.audio.speech.create(model="tts-1", voice="alloy", input="x" * 4000),
    "audio.transcriptions": lambda one: one.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"x" * 4000)),
    "batches": lambda one: one.batches.create(
        completion_window="24h", endpoint="/v1/chat/completions", input_file_id="f"
    ),
    "videos": lambda one: posted(one, "/videos", model="sora-2", prompt="x"),
    "fine_tuning": lambda one: one.fine_tuning.jobs.create(model="gpt-4o-mini", training_file="f"),
    "realtime": lambda one: one.realtime.client_secrets.create(),
    "runs": lambda one: posted(one, "/threads/runs", assistant_id="a"),
    "something new": lambda one: posted(one, "/hologram", model="gpt-4o-mini"),
    "chat as text": lambda one: one.post(
        "/chat/completions", content=b"[]", cast_to=object, options={"headers": {"content-type": "text/plain"}}
    ),
}
FREE = {
    "models": lambda one: one.models.list(),
    "files": lambda one: one.files.create(file=("a.jsonl", b"{}"), purpose="batch"),
    "batches.cancel": lambda one: one.batches.cancel("b"),
    "moderations": lambda one: one.moderations.create(input="x"),
}


@pytest.fixture(autouse=True)
def _one_day():
    """Begin no test that a change of the day could interrupt."""
    left_s = 86_400 - time.time() % 86_400
    if left_s < 60:
        time.sleep(left_s)


@pytest.fixture
def opened(provider, make, key):
    """Make a client of `provider` with a spend limit, and a list of its rows."""
    provider.usual = lambda seen: make.answer(body=make.completion())

    def client(spend, **more):
        rows = []
        policy = Policy(**{"cache": None, "retry": Retry(base_s=0.01), "spend": spend, "hooks": (rows.append,), **more})
        return OpenAI(api_key=key, base_url=provider.url, policy=policy), rows

    return client


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_hard_limit_counts_or_refuses_every_operation(provider, opened, operation):
    """A call that could cost more than is left, or whose price is not known, is not sent, and costs nothing."""
    client, rows = opened(Spend(max_usd=0.000001))
    with client, pytest.raises(BudgetExceeded) as caught:
        OPERATIONS[operation](client)
    expected = PriceUnknown if "is not known" in caught.value.message else BudgetExceeded
    assert type(caught.value) is expected
    assert not provider.seen
    assert [(row.cost_usd, row.error_type) for row in rows] == [(0.0, expected.__name__)]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_limit_every_operation_is_sent(provider, opened, operation):
    """The negative control: the same calls reach the provider."""
    client, _ = opened(None)
    with client:
        OPERATIONS[operation](client)
    assert provider.seen


@pytest.mark.parametrize("operation", FREE)
def test_what_is_free_is_sent_under_any_limit(provider, opened, operation):
    """Reading, uploads, cancelling and moderation cost nothing."""
    client, rows = opened(Spend(max_usd=0.000001))
    with client:
        FREE[operation](client)
    assert [row.cost_usd for row in rows] == [0.0]


def test_an_async_client_refuses_as_well(provider, opened, key):
    """The same policy holds for asyncio, forms included."""
    policy = Policy(spend=Spend(max_usd=0.000001))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            for call in (
                client.images.generate(model="gpt-image-1", prompt="x"),
                client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"x" * 4000)),
            ):
                with pytest.raises(BudgetExceeded):
                    await call

    asyncio.run(main())
    assert not provider.seen


def test_own_prices_count_for_operations_without_a_known_one(provider, opened):
    """A price by the operation or the model lets the call pass, and counts; the next one exceeds the limit."""
    prices = {"batches": Price(call=0.6), "sora-2": Price(video_s=0.1), "my-own-7b": Price(in_mtok=1e5, out_mtok=1e5)}
    client, rows = opened(Spend(max_usd=1.0), prices=prices)
    with client:
        OPERATIONS["batches"](client)
        with pytest.raises(BudgetExceeded, match=r"could cost \$1\.2.*\$0\.4"):
            OPERATIONS["videos"](client)
        posted(client, "/videos", model="sora-2", prompt="x", seconds="4")
        with pytest.raises(BudgetExceeded, match=r"\$0\.00"):
            client.chat.completions.create(**ASK | {"model": "my-own-7b"})
    assert [row.cost_usd for row in rows] == [0.6, 0.0, pytest.approx(0.4), 0.0]


def test_an_image_costs_what_its_answer_counts(provider, opened, make):
    """Of gpt-image-1 the tokens of the answer are billed: 10 of text, 50 of image in, 1056 of image out."""
    counts = {
        "input_tokens": 60, "input_tokens_details": {"text_tokens": 10, "image_tokens": 50}, "output_tokens": 1056,
        "total_tokens": 1116,
    }  # fmt: skip
    provider.usual = lambda seen: make.answer(body=json.dumps({"created": 1, "data": [], "usage": counts}).encode())
    client, rows = opened(Spend(max_usd=1.0))
    with client:
        OPERATIONS["images.generate"](client)
    assert rows[0].cost_usd == pytest.approx((10 * 5 + 50 * 10 + 1056 * 40) / 1e6)
    assert client._client._transport.driver.pipeline.ledger.spend_limiter.spent_usd() == pytest.approx(rows[0].cost_usd)


def test_your_price_of_the_asked_model_comes_before_the_tables(provider, opened):
    """An Azure deployment, or a contract, has its own price; the answer names a model of the table."""
    prices = {"gpt-4o-mini": Price(call=0.25), "mine": "gpt-4.1", "gpt-4.1": Price(call=0.5)}
    client, rows = opened(None, prices=prices)
    with client:
        for model in ("gpt-4o-mini", "openai/gpt-4o-mini", "mine"):
            client.chat.completions.create(**ASK | {"model": model})
    assert [row.cost_usd for row in rows] == [0.25, 0.25, 0.5]


CALLS = """
import sys
from tailrace import OpenAI, Policy, Price, Spend, Sqlite
from tailrace.client import BudgetExceeded
url, path, number = sys.argv[1:4]
spend = Spend(max_usd=1.0, per="day", store=Sqlite(path) if path else None)
sent = 0
policy = Policy(cache=None, spend=spend, prices={"m": Price(call=0.1)})
with OpenAI(api_key="sk-test", base_url=url, policy=policy) as one:
    for _ in range(int(number)):
        try:
            one.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
            sent += 1
        except BudgetExceeded as error:
            assert 0 < error.retry_after_s <= 86400, error.retry_after_s
print(sent)
"""


def processes(provider, path, number, calls):
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CALLS, provider.url, str(path), str(calls)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(number)
    ]
    return sum(int(one.communicate(timeout=120)[0]) for one in running)


@pytest.mark.deep
def test_a_budget_by_day_holds_across_four_processes_and_a_restart(provider, opened, tmp_path):
    """Four processes at once send ten of sixteen calls; one that starts later sends none."""
    assert processes(provider, tmp_path / "llm.db", 4, 4) == 10
    assert processes(provider, tmp_path / "llm.db", 1, 2) == 0
    assert len(provider.seen) == 10


def test_without_a_store_each_client_has_its_own_budget(provider, opened):
    """The negative control: each of two clients sends ten calls."""
    for _ in range(2):
        client, _ = opened(Spend(max_usd=1.0, per="day"), prices={"gpt-4o-mini": Price(call=0.1)})
        with client:
            for _ in range(10):
                client.chat.completions.create(**ASK)
            with pytest.raises(BudgetExceeded):
                client.chat.completions.create(**ASK)
    assert len(provider.seen) == 20


def test_the_caches_store_keeps_a_budget_by_day(provider, opened, key, tmp_path):
    """Two clients with one SQLite cache have one daily budget; a budget for ever stays with its client."""
    for per, sent in (("day", 1), ("ever", 2)):
        before = len(provider.seen)
        for _ in range(2):
            store = Sqlite(tmp_path / "llm.db")
            spend = Spend(max_usd=1.0, per=per)
            policy = Policy(cache=Cache(store=store), spend=spend, prices={"m": Price(call=0.6)})
            with (
                OpenAI(api_key=key, base_url=provider.url, policy=policy) as client,
                contextlib.suppress(BudgetExceeded),
            ):
                client.chat.completions.create(**ASK | {"model": "m"})
            store.close()
        assert len(provider.seen) - before == sent


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_cancelled_or_failed_call_settles_in_the_store(provider, make, key, tmp_path, asynchronous):
    """An error costs nothing, an aborted stream its whole reservation; nothing stays reserved."""
    provider.usual = lambda seen: make.answer(500, b"{}") if len(provider.seen) == 1 else make.answer(body=b"{")
    store = Sqlite(tmp_path / "llm.db")
    policy = Policy(cache=None, retry=None, spend=Spend(max_usd=1.0, per="day", store=store))

    async def main():
        async with AsyncOpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            for _ in range(2):
                with pytest.raises(Exception, match=r"500|Expecting|JSON|unexpected"):
                    await client.chat.completions.create(**ASK)
            return client._client._transport.driver.pipeline.ledger.spend_limiter

    if asynchronous:
        limiter = asyncio.run(main())
    else:
        with OpenAI(api_key=key, base_url=provider.url, policy=policy) as client:
            for _ in range(2):
                with pytest.raises(Exception, match=r"500|Expecting|JSON|unexpected"):
                    client.chat.completions.create(**ASK)
            limiter = client._client._transport.driver.pipeline.ledger.spend_limiter
    assert not limiter.unsettled
    assert limiter.reserved_usd() == 0.0
    assert 0 < limiter.spent_usd() < 0.001
    store.close()


@pytest.mark.parametrize("failure", ["reject", "allow"])
def test_a_store_that_fails_refuses_or_allows(provider, opened, tmp_path, failure, caplog):
    """`store_failure` decides; the cost of an allowed call is counted once the store answers again."""
    (tmp_path / "file").write_text("in the way of a folder")
    store = Sqlite(tmp_path / "file" / "llm.db")
    spend = Spend(max_usd=1.0, per="day", store=store, store_failure=failure)
    client, rows = opened(spend, prices={"gpt-4o-mini": Price(call=0.6)})
    ledger = client._client._transport.driver.pipeline.ledger
    with client:
        if failure == "reject":
            with pytest.raises(BudgetExceeded, match="cannot be asked"):
                client.chat.completions.create(**ASK)
            assert not provider.seen
        else:
            client.chat.completions.create(**ASK)
            assert rows[0].cost_usd == pytest.approx(0.6)
        (tmp_path / "file").unlink()
        ledger._paused_until = 0.0
        ledger.flush()
        assert ledger.spend_limiter.spent_usd() == pytest.approx(0.0 if failure == "reject" else 0.6)
    assert caplog.text.count("cannot be asked") == 1
    store.close()


FORGOTTEN = """
import sys
from tailrace import OpenAI, Policy, Spend, Sqlite
spend = Spend(max_usd=1.0, per="day", store=Sqlite(sys.argv[2]))
client = OpenAI(api_key="sk-test", base_url=sys.argv[1], policy=Policy(cache=None, spend=spend))
stream = client.chat.completions.create(
    model="gpt-4o-mini", max_tokens=100, messages=[{"role": "user", "content": "x"}], stream=True
)
next(stream)
del stream
"""


@pytest.mark.deep
def test_a_stream_that_nobody_closes_is_settled_when_its_process_ends(provider, tmp_path):
    """A forgotten stream counts as its whole reservation in the store, also when no other call follows."""
    subprocess.run([sys.executable, "-c", FORGOTTEN, provider.url, str(tmp_path / "llm.db")], check=True, timeout=120)
    store = Sqlite(tmp_path / "llm.db")
    limiter = SpendLimiter(Spend(max_usd=1.0, per="day", store=store))
    assert limiter.reserved_usd() == 0.0
    assert limiter.spent_usd() > 0
    store.close()
