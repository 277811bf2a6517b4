"""Secrets: canaries in every part of a call, and everything that the client reports about it."""

import asyncio
import io
import json
import logging
import pickle
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import openai
import pytest

from tailrace import AsyncOpenAI, Breaker, Cache, Fallback, Limits, OpenAI, Policy, Retry, Spend, Sqlite
from tailrace.client import Call, InputRejected
from tailrace.client.hooks import json_log, structured
from tailrace.client.hooks.otel import opentelemetry
from tailrace.client.hooks.prometheus import prometheus
from tailrace.client.wire import Request

CANARY = {"prompt": "canary-prompt-" + "q" * 12, "key": "sk-" + "canary" * 5, "header": "canary-header-" + "h" * 12,
          "answer": "canary-answer-" + "z" * 12, "tool": "canary-tool-" + "w" * 12, "query": "canary-query-" + "u" * 12,
          "cookie": "canary-cookie-" + "c" * 12, "other key": "sk-" + "yranac" * 5}  # fmt: skip
ASK = {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": CANARY["prompt"]}],
       "tools": [{"type": "function", "function": {"name": CANARY["tool"]}}],
       "extra_headers": {"x-secret": CANARY["header"]}, "extra_query": {"q": CANARY["query"]}}  # fmt: skip
COOKIE = f"__cf_bm={CANARY['cookie']}"  # which is sent with the next call, and does not make it another one
QUICK = Retry(attempts=2, base_s=0.01)
GOOD, BAD, BUSY, WRONG, HTML, SLOW = "good", "bad", "busy", "wrong", "html", "slow"
STREAM, CUT, STALLED = "stream", "cut", "stalled"


@dataclass(frozen=True)
class Way:
    """The provider's answers in turn, the last one repeated; the calls; and the rows that show what happened."""

    gives: tuple[str, ...]
    rows: set[tuple[str, str, str]]  # cache ("" where it is a matter of chance), outcome, error_type
    policy: dict = field(default_factory=dict)
    cache: dict = field(default_factory=dict)
    calls: int = 2
    at_once: bool = False
    pause_s: float = 0.0
    prompt: str = CANARY["prompt"]


OK, HIT = ("miss", "ok", ""), ("hit", "ok", "")
WAYS = {
    "success and hit": Way((GOOD,), {OK, HIT}, calls=3),
    "bypass": Way((GOOD,), {("bypass", "ok", "")}, {"cache": None}),
    "coalesced": Way((SLOW,), {OK, ("coalesced", "ok", "")}, at_once=True),
    "stale while revalidate": Way((GOOD,), {OK, ("stale", "ok", "")}, pause_s=0.1,
                                  cache={"ttl_s": 0.05, "stale_while_revalidate_s": 60}),
    "stale if error": Way((GOOD, BAD), {OK, ("stale", "ok", "")}, pause_s=0.1,
                          cache={"ttl_s": 0.05, "stale_if_error_s": 60}),
    "stream": Way((STREAM,), {OK, HIT}),
    "cut stream": Way((CUT,), {("miss", "error", "cut_stream")}),
    "stalled stream": Way((STALLED,), {("miss", "error", "unanswered_timeout")},
                          {"limits": Limits(attempt_timeout_s=0.2)}),
    "late stream": Way(
        (STALLED,), {("bypass", "error", "DeadlineExceeded")}, {"cache": None, "limits": Limits(deadline_s=0.2)}
    ),
    "400": Way((WRONG,), {("miss", "error", "plain_code")}),
    "429": Way((BUSY,), {("miss", "error", "http_429")}),
    "500": Way((BAD,), {("miss", "error", "http_500")}),
    "malformed": Way((HTML,), {("miss", "error", "bad_body")}),
    "reset": Way(("reset",), {("miss", "error", "ConnectionFailed")}),
    "timeout": Way((SLOW,), {("miss", "error", "TimedOut")}, {"limits": Limits(attempt_timeout_s=0.1)}),
    "deadline": Way((SLOW,), {("", "error", "DeadlineExceeded")}, {"limits": Limits(deadline_s=0.1)}),
    "deadline of one who waits": Way(
        (SLOW,), {("", "error", "DeadlineExceeded")}, {"limits": Limits(deadline_s=0.1)}, at_once=True
    ),
    "circuit": Way((BAD,), {("miss", "error", "http_500"), ("miss", "error", "CircuitOpen")},
                   {"retry": None, "limits": Limits(breaker=Breaker(min_calls=1))}),
    "budget": Way((GOOD,), {("miss", "error", "BudgetExceeded")}, {"spend": Spend(1e-9)}),
    "guard": Way((GOOD,), {("bypass", "error", "InputRejected")}, prompt=CANARY["prompt"] + "\x01"),
    "fallback": Way((BAD,), {OK, HIT}, {"retry": None, "fallbacks": (Fallback("gpt-4.1", api_key_env="OTHER_KEY"),)}),
    "hedge": Way((SLOW, GOOD), {OK, HIT}, {"limits": Limits(hedge_after_s=0.05)}),
    "store fails to read": Way((GOOD,), {OK}),
    "store fails to write": Way((GOOD,), {OK}),
    "hook fails": Way((GOOD,), {OK, HIT}),
}  # fmt: skip


def given(make, what):
    """Return the answer named `what`, with canaries in body and cookie where it can hold them."""
    events = {"content-type": "text/event-stream", "set-cookie": COOKIE}
    headers = {"set-cookie": COOKIE, "x-request-id": "req_1"}
    whole, chunks = make.completion(CANARY["answer"]), make.events("a", CANARY["answer"], "b", "c")
    return {
        GOOD: make.answer(body=whole, headers=headers),
        SLOW: make.answer(body=whole, headers=headers, delay_s=0.3),
        BAD: make.answer(500, b'{"error": {"message": "no"}}', headers),
        WRONG: make.answer(400, b'{"error": {"message": "no", "code": "plain_code"}}', headers),
        BUSY: make.answer(429, b"{}", {**headers, "retry-after": "0"}),
        HTML: make.answer(body=CANARY["answer"].encode(), headers=headers),
        STREAM: make.answer(headers=events, chunks=chunks),
        CUT: make.answer(headers=events, chunks=chunks[:2], cut=True),
        STALLED: make.answer(headers=events, chunks=chunks, between_s=0.5),
        "reset": make.answer(cut=True),
    }[what]


class Ears:
    """Everything that reports a call: rows, logs, metrics, spans, standard error."""

    def __init__(self, caplog, monkeypatch):
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from prometheus_client import CollectorRegistry

        caplog.set_level(logging.DEBUG)
        self.logs, self.stderr, self.told = caplog, io.StringIO(), []
        monkeypatch.setattr(sys, "stderr", self.stderr)
        self.calls, self.registry = [], CollectorRegistry()
        self.spans, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracing, self.metering = TracerProvider(), MeterProvider([self.reader])
        self.tracing.add_span_processor(SimpleSpanProcessor(self.spans))
        self.hooks = (self.calls.append, json_log(logging.getLogger("calls")), structured(self),
                      prometheus(self.registry), opentelemetry(self.tracing, self.metering))  # fmt: skip

    def info(self, event, **fields):
        self.told.append(repr((event, fields)))

    warning = info

    def hear(self, error):
        """Note everything that an error and its causes show."""
        one = error
        while one is not None:
            self.told += [str(one), repr(one), repr(one.args)]
            one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        self.told += ["".join(traceback.format_exception(error))]
        if isinstance(error, openai.OpenAIError):
            self.told.append(repr(vars(error)).replace(CANARY["query"], ""))  # of its request's URL
        if type(error).__module__ == "tailrace.client.errors":  # the SDK's own hold the SDK's request, for the caller
            self.told += [repr(vars(error)), repr(error.request), str(error.request.headers.raw)]
            self.told += [str(error.request.content), pickle.dumps(error).decode("latin-1")]

    def text(self):
        from prometheus_client import generate_latest

        for record in self.logs.records:  # httpx2 itself logs the URL that it asks, query and all
            line = record.getMessage()
            self.told.append(line.replace(CANARY["query"], "") if record.name == "httpx2" else line)
        heard = [*self.told, repr(self.calls), self.stderr.getvalue()]
        heard += [span.to_json() for span in self.spans.get_finished_spans()]
        metrics = self.reader.get_metrics_data()
        heard += [generate_latest(self.registry).decode(), "" if metrics is None else metrics.to_json()]
        self.tracing.shutdown()
        self.metering.shutdown()
        return "\n".join(heard)


def walked(kind, way, url, policy, ears):
    """Make the calls of `way`, concurrently or in sequence, and note in `ears` what they raise."""
    asked = {**ASK, "messages": [{"role": "user", "content": way.prompt}],
             "stream": way.gives[0] in (STREAM, CUT, STALLED)}  # fmt: skip

    async def one(client):
        try:
            answer = await client.chat.completions.create(**asked)
            [chunk async for chunk in answer] if asked["stream"] else None
        except Exception as error:
            ears.hear(error)

    async def asynchronous():
        async with AsyncOpenAI(api_key=CANARY["key"], base_url=url, policy=policy) as client:
            if way.at_once:
                await asyncio.gather(*(one(client) for _ in range(way.calls)))
            for _ in range(0 if way.at_once else way.calls):
                await one(client)
                await asyncio.sleep(way.pause_s)
            ears.told.append(repr(client) + repr(client.policy))

    def blocking(client):
        try:
            answer = client.chat.completions.create(**asked)
            list(answer) if asked["stream"] else None
        except Exception as error:
            ears.hear(error)

    if kind is AsyncOpenAI:
        return asyncio.run(asynchronous())
    with OpenAI(api_key=CANARY["key"], base_url=url, policy=policy) as client, ThreadPoolExecutor(4) as threads:
        if way.at_once:
            list(threads.map(blocking, [client] * way.calls))
        for _ in range(0 if way.at_once else way.calls):
            blocking(client)
            time.sleep(way.pause_s)
        ears.told.append(repr(client) + repr(client.policy))
    return None


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
@pytest.mark.parametrize("name", WAYS)
def test_secrets_never_surface(provider, make, tmp_path, caplog, monkeypatch, kind, name):
    """Canaries in prompt, keys, headers, query, tools and answer are in no log, row, metric, error or file."""
    if name == "hedge" and kind is OpenAI:
        return  # threads do not hedge
    way, ears = WAYS[name], Ears(caplog, monkeypatch)
    monkeypatch.setenv("OTHER_KEY", CANARY["other key"])
    gives = [given(make, what) for what in way.gives]
    provider.answers = gives[:-1]
    provider.usual = lambda seen: given(make, GOOD) if b"gpt-4.1" in seen.body else gives[-1]
    store = Sqlite(tmp_path / "c.db")
    if name.startswith("store fails"):
        monkeypatch.setattr(store, "get" if "read" in name else "put", broken)
    hooks = (quoting, *ears.hooks) if name == "hook fails" else ears.hooks
    policy = Policy(**{"cache": Cache(store=store, **way.cache), "retry": QUICK, "hooks": hooks, **way.policy})
    walked(kind, way, provider.url, policy, ears)
    store.close()
    rows = {("" if name.startswith("deadline") else call.cache, call.outcome, call.error_type) for call in ears.calls}
    assert rows == way.rows, "negative control: the calls went the way that was meant"
    text = ears.text()
    leaked = [secret for secret, canary in CANARY.items() if canary in text]
    # the answer itself is what a cache keeps; keys, prompts and headers are not in its file either
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("c.db*"))
    leaked += [secret for secret, canary in CANARY.items() if canary.encode() in kept and secret != "answer"]
    assert leaked == []


CALL = Call(
    "chat", CANARY["prompt"], "", "ok", "miss", 200, 1, 0.1, 0.0, 0.0, 1, 1, 0, 0, None, None, "", False, (), ()
)


def behind():
    try:
        raise KeyError("another") from ValueError(CANARY["prompt"])
    except KeyError as error:
        return error


LEAKS = {
    "a log": lambda ears: logging.getLogger("tailrace.careless").debug("asked %s", CANARY["prompt"]),
    "standard error": lambda ears: print(CANARY["prompt"], file=sys.stderr),
    "an error": lambda ears: ears.hear(openai.OpenAIError(CANARY["prompt"])),
    "what an error holds": lambda ears: ears.hear(InputRejected("no", Request("POST", "/", (), b""), CANARY["prompt"])),
    "what is behind an error": lambda ears: ears.hear(behind()),
    **{f"hook {number}": lambda ears, number=number: ears.hooks[number](CALL) for number in range(5)},
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
def test_a_canary_that_is_told_is_found(caplog, monkeypatch, leak):
    """Negative control: the same search finds a prompt that is leaked, wherever it is leaked."""
    ears = Ears(caplog, monkeypatch)
    leak(ears)
    assert CANARY["prompt"] in ears.text()


def test_a_provider_that_quotes_the_prompt_is_not_quoted(provider, make, key):
    """An error code that is not a plain word is reported as the status; a plain one as it is."""
    calls = []
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(hooks=(calls.append,))) as client:
        for code in (CANARY["prompt"] + " is not allowed", "model_not_found"):
            provider.usual = lambda seen, code=code: make.answer(404, json.dumps({"error": {"code": code}}).encode())
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(**ASK)
    assert [call.error_type for call in calls] == ["http_404", "model_not_found"]


def broken(*_):
    raise OSError("disk on fire")


def quoting(_call):
    raise RuntimeError(CANARY["prompt"])
