"""A deterministic simulation of a client: a scripted provider, callers who come and go, and simulated time."""

import asyncio
import gc
import random
from dataclasses import dataclass, field

import openai
import orjson

from tailrace import Memory, Policy
from tailrace.client import AsyncDriver, wire
from tailrace.client.call.effects import Background
from tailrace.client.clock import Clock

EPOCH = 1e9
MODEL = "gpt-4o-mini"
USED = {"prompt_tokens": 20, "completion_tokens": 30}
SLACK_S = 0.25 + 1e-6  # what a fetch gets to say itself that its deadline has passed


class Loop(asyncio.SelectorEventLoop):
    """An event loop with simulated time, which advances at once when there is nothing else to do."""

    now = 0.0

    def time(self):
        return self.now

    def _run_once(self):
        if not self._ready:
            due = [handle._when for handle in self._scheduled if not handle._cancelled]
            assert due, "deadlock"
            self.now = max(self.now, min(due))
        super()._run_once()


class Shared(Memory):
    """A store that two drivers share as two processes would."""

    shared = True

    def __init__(self):
        super().__init__()
        self.leased = {}

    def lease(self, key, now, seconds):
        free = self.leased.get(key, 0.0) <= now
        if free:
            self.leased[key] = now + seconds
        return free

    def release(self, key):
        self.leased.pop(key, None)


@dataclass
class Provider:
    """Answers by `plans`, in turn. An answer holds its question and its own number."""

    plans: list
    clock: object
    pause: object = asyncio.sleep
    left_s: float | None = None
    sent: int = 0
    busy: int = 0
    most: int = 0
    over_at: dict = field(default_factory=dict)

    async def __call__(self, request):
        number, self.sent = self.sent, self.sent + 1
        delay_s, kind = self.plans[number % len(self.plans)]
        self.busy += 1
        self.most = max(self.most, self.busy)
        streamed = False
        try:
            await self.pause(delay_s)
            body = orjson.loads(request.body)
            text = f"{body['messages'][0]['content']}#{number}"
            if kind in ("timeout", "connection"):
                raise wire.Unanswered(kind, "nothing")
            if isinstance(kind, int):
                return wire.Response(kind, (("retry-after", "0.2"),), b"{}")
            if body["stream"]:
                streamed = True
                return wire.Response(
                    200, (("content-type", "text/event-stream"),), self.stream(number, text, kind, delay_s)
                )
            body = b"{" if kind == "broken" else orjson.dumps(answer(text, "length" if kind == "cut" else "stop"))
            return wire.Response(200, (("content-type", "application/json"),), body)
        finally:
            if not streamed:
                self.over_at[number] = self.clock()
                self.busy -= 1

    async def stream(self, number, text, kind, gap_s):
        """Yield the events of an answer every `gap_s`; it may be cut or break off."""
        try:
            for document in [chunk(text, None)] + [chunk("", "stop")] * (kind == "good"):
                await self.pause(gap_s)
                yield b"data: %b\n\n" % orjson.dumps(document)
            if kind == "broken":
                raise wire.Unanswered("connection", "reset")
            if kind == "good":
                yield b"data: [DONE]\n\n"
        finally:
            self.over_at[number] = self.clock()
            self.busy -= 1


def answer(text, reason):
    choice = {"index": 0, "finish_reason": reason, "message": {"content": text}}
    return {"model": MODEL, "choices": [choice], "usage": USED}


def chunk(text, reason):
    choice = {"index": 0, "finish_reason": reason, "delta": {"content": text}}
    return {"model": MODEL, "choices": [choice], "usage": USED if reason else None}


@dataclass(frozen=True)
class Caller:
    """A caller: when he asks what, with which `cache-control`, and when he leaves."""

    at: float
    question: int
    stream: bool
    cache_control: str
    leaves_s: float | None
    reads: int | None
    closes: bool
    process: int = 0


@dataclass
class World:
    """One simulation: its parts, and what came of it."""

    policy: Policy
    provider: Provider
    drivers: list
    rows: list
    in_background: int = 0
    """Fetches that no caller waited for."""
    violations: list = field(default_factory=list)
    """Results that no caller should get."""
    unclosed: int = 0
    slack_s: float = SLACK_S

    async def call(self, caller, now):
        await asyncio.sleep(caller.at)
        began, limits = now(), self.policy.limits
        try:
            async with asyncio.timeout(caller.leaves_s):
                text = await self.read(caller)
        except TimeoutError:
            return
        except openai.APIError:
            text = ""
        except wire.Unanswered as error:
            self.violations.append(error)
            return
        if limits is not None and limits.deadline_s is not None and now() - began > limits.deadline_s + self.slack_s:
            self.violations.append(f"too late: {caller}, {now() - began:.3f} s")
        if not text:
            return
        question, number = text.split("#")
        age_s, cache = began - self.provider.over_at.get(int(number), began), self.policy.cache
        oldest_s = cache.ttl_s + max(cache.stale_while_revalidate_s, cache.stale_if_error_s) if cache else 0.0
        if age_s > {"": oldest_s, "max-age=1": min(1.0, oldest_s)}.get(caller.cache_control, 0.0) + 1e-6:
            self.violations.append(f"too old: {caller}, {text}, {age_s:.3f} s")
        if question != f"q{caller.question}":
            self.violations.append(f"another's answer: {caller}, {text}")

    def longest_s(self):
        return max(delay_s for delay_s, _ in self.provider.plans)

    async def read(self, caller):
        body = {"model": MODEL, "temperature": 0, "max_tokens": 50, "stream": caller.stream,
                 "messages": [{"role": "user", "content": f"q{caller.question}"}]}  # fmt: skip
        headers = (("cache-control", caller.cache_control),) if caller.cache_control else ()
        request = wire.Request("POST", "http://h/v1/chat/completions", headers, orjson.dumps(body))
        response = await self.drivers[caller.process % len(self.drivers)](request)
        if isinstance(response.body, bytes):
            text = orjson.loads(response.body) if response.status == 200 and response.body != b"{" else None
            return text["choices"][0]["message"]["content"] if text else ""
        chunks = []
        try:
            async for part in response.body:
                chunks.append(part)
                if caller.reads is not None and len(chunks) > caller.reads:
                    break
        finally:
            if caller.closes and hasattr(response.body, "aclose"):
                await response.body.aclose()
        first = chunks[0].removeprefix(b"data: ") if chunks else b""
        return orjson.loads(first)["choices"][0]["delta"]["content"] if first.startswith(b"{") else ""


def simulate(plan, policy, callers):
    """Return the world after concurrent calls of all `callers`, with asyncio, and one more call in each process."""

    async def calls(world, now):
        await asyncio.gather(*(world.call(caller, now) for caller in callers))

    return run(plan, policy, calls, lambda made, provider, clock, _: AsyncDriver(made, provider, clock=clock))


def run(plan, policy, calls, driver):
    with asyncio.Runner(loop_factory=Loop) as runner:
        loop = runner.get_loop()
        chance, rows = random.Random(1), []
        provider = Provider(plan, loop.time)
        clock = Clock(loop.time, lambda: EPOCH + loop.time(), chance.random, chance.randbytes)
        made = Policy(**policy, hooks=(rows.append,))
        processes = 2 if made.cache is not None and made.cache.store.shared else 1
        world = World(made, provider, [driver(made, provider, clock, loop) for _ in range(processes)], rows)
        for one in world.drivers:
            one._handlers[Background] = counted(world, one)

        async def whole():
            await calls(world, loop.time)
            gc.collect()
            await asyncio.sleep(100)
            for process in range(processes):
                await world.call(Caller(0.0, 9, False, "no-cache", None, None, False, process), loop.time)
            await asyncio.sleep(100)
            world.unclosed = provider.busy  # counted now, because the end of the loop closes everything
            return world

        return runner.run(whole())


def counted(world, driver):
    """Return the driver's handler of background fetches, which also counts those that it begins."""
    begin = driver._handlers[Background]

    async def begun(effect):
        under_way = driver._single_flight._flights.get().under_way
        before = under_way.get(effect.key)
        await begin(effect)
        world.in_background += under_way[effect.key] is not before

    def begun_blocking(effect):
        world.in_background += 1
        begin(effect)

    return begun if isinstance(driver, AsyncDriver) else begun_blocking
