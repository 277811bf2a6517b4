"""The client beside the plain SDK and LiteLLM: `python tests/bench/bench_client.py [--calls 1000] [--hits 1000]`.

Provider (the simulator without latency) on the first core, one client process at a time on the last: same server,
same run, 2 kB prompts, 32 in flight. "per core" is calls per second of the client's own CPU time, which holds on a
shared machine, too. "decisions" is the policy alone: its generators, with every effect carried out at once.
LiteLLM needs an environment of its own, outside the project: `--litellm FOLDER` names it, and makes it when it does not
exist (with uv, from the package index); without the option its rows are skipped.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Ask = Callable[[str], Awaitable[Any]]

PROMPT = "What would you make of a stream that turns a wheel, and of the water that leaves it? " * 24
IN_FLIGHT = 32
WARM = 64
ON_HTTPX2 = ("tailrace on httpx2, all on", "tailrace on httpx2, all on but coalesce")
ARMS = ("openai", "openai + aiohttp", "tailrace", "tailrace, all on", *ON_HTTPX2, "litellm", "openai, threads",
        "tailrace, threads, all on")  # fmt: skip
PLAIN = {"tailrace, all on": "openai", **dict.fromkeys(ON_HTTPX2, "openai"),
         "tailrace, threads, all on": "openai, threads"}  # fmt: skip
"""The plain SDK that each of our clients is compared with; threaded clients call in sequence."""
DECISIONS = "decisions"


def arguments(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "temperature": 0, "messages": [{"role": "user", "content": text}]}


@contextmanager
def opened(arm: str, url: str) -> Iterator[Ask]:
    """Give a function that asks one question with the client that `arm` names."""
    key = "sk-" + "b" * 30
    if arm == "litellm":
        import litellm
        from litellm.caching.caching import Cache

        litellm.cache = Cache(type="local")
        litellm.suppress_debug_info = True
        yield lambda text: litellm.acompletion(
            **{**arguments(text), "model": "openai/gpt-4o-mini"}, api_base=url, api_key=key, caching=True, num_retries=0
        )
        return
    client = sdk(arm, url, key)
    if "threads" not in arm:
        yield lambda text: client.chat.completions.create(**arguments(text))
        return

    async def ask(text: str) -> Any:
        return client.chat.completions.create(**arguments(text))

    yield ask


def sdk(arm: str, url: str, key: str) -> Any:
    import openai

    given = {
        "openai + aiohttp": openai.DefaultAioHttpClient,
        **dict.fromkeys(ON_HTTPX2, openai.DefaultAsyncHttpxClient),
    }
    http = given[arm]() if arm in given else None
    if arm.startswith("openai"):
        kind: Any = openai.OpenAI if "threads" in arm else openai.AsyncOpenAI
        return kind(api_key=key, base_url=url, max_retries=0, http_client=http)
    from tailrace import AsyncOpenAI, Cache, Memory, OpenAI, Policy

    shared = "but coalesce" not in arm
    policy = everything_on(shared) if "all on" in arm else Policy(cache=Cache(store=Memory(512 << 20)))
    if "threads" in arm:
        return OpenAI(api_key=key, base_url=url, policy=policy)
    return AsyncOpenAI(api_key=key, base_url=url, http_client=http, policy=policy)


def everything_on(coalesce: bool = True) -> Any:
    from tailrace import Cache, Limits, Memory, Policy, Spend

    limits = Limits(deadline_s=30, attempt_timeout_s=20, concurrency="adaptive")
    cache = Cache(store=Memory(512 << 20), coalesce=coalesce)
    return Policy(cache=cache, limits=limits, spend=Spend(max_usd=1000), hooks=((lambda call: None),))


async def many(ask: Ask, texts: list[str]) -> None:
    """Ask all questions, `IN_FLIGHT` at a time."""
    waiting = iter(texts)

    async def one_after_another() -> None:
        for text in waiting:
            await ask(text)

    await asyncio.gather(*(one_after_another() for _ in range(IN_FLIGHT)))


async def timed(ask: Ask, texts: list[str]) -> float:
    """Return the median time of a question, asked one by one, in microseconds."""
    took = []
    for text in texts:
        began = time.perf_counter()
        await ask(text)
        took.append((time.perf_counter() - began) * 1e6)
    return sorted(took)[len(took) // 2]


async def measured(arm: str, url: str, calls: int, hits: int) -> dict[str, float]:
    texts = [f"{number:07d} {PROMPT}" for number in range(calls)]
    with opened(arm, url) as ask:
        await many(ask, [f"warm {number} {PROMPT}" for number in range(WARM)])
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        await many(ask, texts)
        found = {
            "rate": calls / (time.perf_counter() - began_s),
            "cpu_us": (time.process_time() - began_cpu_s) / calls * 1e6,
        }
        if not arm.startswith("openai"):
            found["hit_us"] = await timed(ask, [texts[0]] * hits)
            found["each_us"] = await timed(ask, texts[1 : hits + 1])
        return found


def decided(calls: int) -> dict[str, float]:
    """Return the CPU time of the policy's decisions on a miss, with every protection on, in microseconds."""
    import threading

    import orjson

    from tailrace.client.call.effects import Join, Send, Work
    from tailrace.client.call.pipeline import Pipeline
    from tailrace.client.clock import Clock
    from tailrace.client.wire import Request, Response

    usage = {"prompt_tokens": 500, "completion_tokens": 20, "total_tokens": 520}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello " * 20}, "finish_reason": "stop"}
    document = {"id": "x", "object": "chat.completion", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}
    answer = Response(200, (("content-type", "application/json"), ("x-request-id", "1")), orjson.dumps(document))

    def carried_out(work: Work[Any]) -> Any:
        try:
            effect = work.send(None)
            while True:
                if isinstance(effect, Join):
                    effect = work.send((carried_out(effect.work()), True))
                else:
                    effect = work.send(answer if isinstance(effect, Send) else None)
        except StopIteration as stop:
            return stop.value

    sdk = tuple((f"x-stainless-{number}", "python") for number in range(11))  # as many as the SDK sends
    headers = (
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("authorization", "Bearer b"),
        *sdk,
    )
    bodies = [orjson.dumps(arguments(f"{number:07d} {PROMPT}")) for number in range(WARM + calls)]
    requests = [Request("POST", "http://127.0.0.1:9/v1/chat/completions", headers, body) for body in bodies]
    pipeline = Pipeline(everything_on(), Clock(), threading.Event)
    for request in requests[:WARM]:
        carried_out(pipeline.run(request))
    gc.collect()
    gc.freeze()  # imported modules must not be collected during the measurement
    began_s = time.process_time()
    for request in requests[WARM:]:
        carried_out(pipeline.run(request))
    return {"decisions_us": (time.process_time() - began_s) / calls * 1e6}


def work() -> None:
    arm, url, calls, hits = sys.argv[2:]
    found = decided(int(calls)) if arm == DECISIONS else asyncio.run(measured(arm, url, int(calls), int(hits)))
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)  # LiteLLM leaves threads and open sessions behind; the result is printed


def run(arm: str, python: Path | str, url: str, calls: int, hits: int, core: int) -> dict[str, float]:
    command = ["taskset", "-c", str(core), str(python), __file__, "--work", arm, url, str(calls), str(hits)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"{arm}: {answer.stderr[-500:]}")
    return json.loads(answer.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def litellm_python(folder: str) -> Path | None:
    """Return the interpreter of LiteLLM's environment, which is made when it does not exist."""
    if not folder:
        return None
    python = Path(folder) / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "-q", folder, "-p", f"{sys.version_info[0]}.{sys.version_info[1]}"], check=True)
        subprocess.run(["uv", "pip", "install", "-q", "--python", str(python), "litellm[proxy]"], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--hits", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="each client in turn, this often; medians count")
    parser.add_argument("--litellm", default=os.environ.get("TAILRACE_BENCH_LITELLM", ""), metavar="FOLDER")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    peer = litellm_python(options.litellm)
    simulator = [sys.executable, "-m", "tailrace.simulator", "--ttft-s", "0", "--token-s", "0", "--port", "0"]
    rounds: dict[str, list[dict[str, float]]] = {}
    with subprocess.Popen(["taskset", "-c", str(cores[0]), *simulator], stdout=subprocess.PIPE, text=True) as provider:
        assert provider.stdout is not None
        url = provider.stdout.readline().split()[-1]
        try:
            for arm in (*ARMS, DECISIONS) * options.rounds:
                python = peer if arm == "litellm" else sys.executable
                if python is not None:
                    found = run(arm, python, url, options.calls, min(options.hits, options.calls - 1), cores[-1])
                    rounds.setdefault(arm, []).append(found)
        finally:
            provider.terminate()
    rows = {arm: middle(found) for arm, found in rounds.items()}
    print(f"{'client':<42}{'per core':>9}{'CPU µs':>8}{'calls/s':>9}{'hit p50 µs':>12}{'each once':>11}")
    for arm in ARMS:
        print(row(arm, rows[arm]) if arm in rows else f"{arm:<42}skipped: give --litellm FOLDER, outside the project")
    for line in verdicts(rows):
        print(line)


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure over the rounds."""
    return {name: statistics.median([one[name] for one in found]) for name in found[0]}


def row(arm: str, found: dict[str, float]) -> str:
    hits = [f"{found[name]:>{width},.0f}" if name in found else f"{'–':>{width}}"
            for name, width in (("hit_us", 12), ("each_us", 11))]  # fmt: skip
    cpu_us, rate = found["cpu_us"], found["rate"]
    return f"{arm:<42}{1e6 / cpu_us:>9,.0f}{cpu_us:>8,.0f}{rate:>9,.0f}{''.join(hits)}"


def verdicts(rows: dict[str, dict[str, float]]) -> Iterator[str]:
    """Yield each goal with its measured value."""

    def line(name: str, value: float, goal: float, least: bool) -> str:
        met = value >= goal if least else value <= goal
        return f"{'ok   ' if met else 'below'} {name}: {value:.2f} (goal {'≥' if least else '≤'} {goal:g})"

    ours = rows["tailrace, all on"]
    for arm, plain in PLAIN.items():
        yield line(f"misses per core, {arm}, against {plain}", rows[plain]["cpu_us"] / rows[arm]["cpu_us"], 1, True)
    yield line("the policy's decisions on a miss, µs", rows[DECISIONS]["decisions_us"], 30, False)
    yield line("hit through the full SDK surface, p50 µs", ours["hit_us"], 150, False)
    if "litellm" in rows:
        yield line("misses per core, against litellm", rows["litellm"]["cpu_us"] / ours["cpu_us"], 2, True)
        yield line(
            "hits, times faster than litellm's memory cache", rows["litellm"]["hit_us"] / ours["hit_us"], 7, True
        )


if __name__ == "__main__":
    work() if sys.argv[1:2] == ["--work"] else main()
