"""Soak: memory stays bounded, and the policy makes few function calls."""

import asyncio
import gc
import sys

import orjson
import psutil

from depth import scaled
from tailrace import Cache, Limits, Memory, OpenAI, Policy, Spend
from tailrace.client import AsyncDriver, wire
from tailrace.client.call.effects import Join, Lease, Load, Release, Save, Send
from tailrace.client.call.pipeline import Pipeline
from tailrace.client.clock import Clock
from tailrace.headers import CACHE

ANSWER = orjson.dumps(
    {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
     "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x" * 1000}}],
     "usage": {"prompt_tokens": 500, "completion_tokens": 250, "total_tokens": 750}}
)  # fmt: skip
HEADERS = (("authorization", "Bearer t"), ("content-type", "application/json"), ("accept", "application/json"))


def request(number, stream=False):
    text = f"{number:08d} " + "what do you make of that? " * 80
    document = {
        "model": "gpt-4o-mini",
        "temperature": 0,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
    }
    return wire.Request("POST", "http://h/v1/chat/completions", HEADERS, orjson.dumps(document))


def rss_mb():
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


def test_distinct_requests_leave_memory_bounded():
    """Once a cache of 16 MB is full, further distinct calls do not grow the process."""
    calls, warm = scaled(200_000, 40_000), scaled(50_000, 20_000)

    async def send(_):
        return wire.Response(200, (("content-type", "application/json"),), ANSWER)

    async def main():
        store = Memory(max_bytes=16 << 20)
        limits = Limits(deadline_s=30, attempt_timeout_s=20, concurrency="adaptive")
        driver = AsyncDriver(Policy(cache=Cache(store=store), limits=limits, spend=Spend(1e6)), send)
        sizes = []
        for number in range(calls):
            await driver(request(number))
            if number in (warm, calls - 1):
                sizes.append(rss_mb())
        assert store.size_bytes <= store.max_bytes
        assert not driver._single_flight
        return sizes

    early, late = asyncio.run(main())
    assert late - early < 10, f"grew from {early:.0f} to {late:.0f} MB"


def test_the_fast_path_stays_within_its_memory(provider, make, key):
    """Distinct calls through the SDK keep the memory of the fast path within its limit."""
    provider.usual = lambda seen: make.answer(body=ANSWER)
    with OpenAI(api_key=key, base_url=provider.url, policy=Policy(cache=Cache(store=Memory(4 << 20)))) as client:
        client._fast_path._max_bytes = 1 << 20
        for number in range(500):
            client.chat.completions.create(
                model="gpt-4o-mini", temperature=0, messages=[{"role": "user", "content": f"{number}"}]
            )
        fast_path = client._fast_path
        assert 0 < fast_path._size_bytes <= 1 << 20
        assert fast_path._size_bytes == sum(call.size_bytes for call in fast_path._calls.values())


def decided(work, doing):
    """Carry out `work` with prepared results, so that only the policy's own code runs."""
    try:
        effect = work.send(None)
        while True:
            effect = work.send(doing[type(effect)](effect))
    except StopIteration as stop:
        return stop.value


def functions_called():
    """Return how many Python functions the policy calls for a miss and for a hit, with everything on.

    That includes parsing, guard, key, store, price, limits and accounts; not the network, the tasks or the SDK.
    """
    store = Memory()
    limits = Limits(deadline_s=30, attempt_timeout_s=20, concurrency="adaptive")
    policy = Policy(cache=Cache(store=store), limits=limits, spend=Spend(1e6), hooks=((lambda call: None),))
    pipeline = Pipeline(policy, Clock(), asyncio.Event)
    answer = wire.Response(200, (("content-type", "application/json"),), ANSWER)
    doing = {
        Load: lambda effect: store.get(effect.key, 0.0), Save: lambda effect: store.put(effect.key, effect.entry),
        Join: lambda effect: (decided(effect.work(), doing), True), Send: lambda effect: answer,
        Lease: lambda effect: True, Release: lambda effect: None,
    }  # fmt: skip
    called = {}
    for number, expected in ((0, "miss"), (1, "miss"), (1, "hit")):  # the first one finds prices, and remembers them
        count = 0

        def seen(_frame, event, _argument):
            nonlocal count
            count += event == "call"

        before = sys.getprofile()
        sys.setprofile(seen)
        try:
            response = decided(pipeline.run(request(number)), doing)
        finally:
            sys.setprofile(before)
        assert wire.header(response.headers, CACHE) == expected
        called[expected] = count
    return called


def test_deciding_takes_few_steps():
    """The policy makes a hundred or so function calls; the benchmark measures their time."""
    called = functions_called()
    assert 50 < called["miss"] < 110
    assert 20 < called["hit"] < 45
