"""What the service costs per request: `python tests/bench/bench_service.py [--seconds 3] [--connections 32]`.

Service on the last core, provider (latency 0) and wrk on the first; needs wrk. "per core" is requests per second of
the service's own CPU time, which holds on a machine that is shared, too; "req/s" is what wrk saw.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PROMPT = "x" * 2_000
LUA = """
local n = %(start)d
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
request = function()
  n = n + %(step)d
  local prompt = n .. '%(prompt)s'
  return wrk.format(nil, '%(path)s', nil, '{"model":"gpt-4o-mini",%(more)s"messages":[{"role":"user","content":"' .. prompt .. '"}]}')
end
"""  # noqa: E501
PLAIN = {"TAILRACE_CACHE": "off", "TAILRACE_RETRY_ATTEMPTS": "1"}


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    settings: dict[str, str]
    more: str = ""
    step: int = 0
    """Between prompts: 0 asks the same for ever."""
    goal: int = 0


CASES = (
    Case("hit", {}, '"temperature":0,', goal=3_000),
    Case("hit, stream", {}, '"temperature":0,"stream":true,'),
    Case("hit, SQLite", {"TAILRACE_CACHE": "sqlite:{folder}/bench.db"}, '"temperature":0,'),
    Case("miss", {}, '"temperature":0,', step=1, goal=1_500),
    Case("bypass (no temperature)", {}, step=1),
    Case("bypass, stream", {}, '"stream":true,', step=1),
    Case("no cache, no retries", PLAIN, step=1),
)


@contextmanager
def running(core: int, module: str, *arguments: str, **settings: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run a module of ours on one core; gives its URL and its process."""
    key = {"OPENAI_API_KEY": "sk-" + "b" * 30}
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(
        command, env={"PATH": os.environ["PATH"], **key, **settings}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True)  # fmt: skip
    try:
        os.sched_setaffinity(process.pid, {core})
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None, f"{command} did not start"
        yield found[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)


def load(url: str, case: Case, connections: int, seconds: float, start: int) -> dict[str, float]:
    """Run wrk once; gives requests, rate, p50 and p99 in ms, and how many answers were no success."""
    script = Path(tempfile.mkdtemp()) / "load.lua"
    more = {"start": start, "step": case.step, "prompt": PROMPT, "path": "/v1/chat/completions", "more": case.more}
    script.write_text(LUA % more)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(script), url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shutil.rmtree(script.parent)
    return {
        "requests": float(_first(r"(\d+) requests in", said)),
        "rate": float(_first(r"Requests/sec:\s+([\d.]+)", said)),
        "p50": _ms(_first(r"\n +50%\s+(\S+)", said)),
        "p99": _ms(_first(r"\n +99%\s+(\S+)", said)),
        "bad": float(_first(r"Non-2xx or 3xx responses: (\d+)", said) or 0),
    }


def measured(case: Case, provider: str, folder: str, connections: int, seconds: float) -> str:
    """Return the table's row for one case."""
    settings = {name: value.format(folder=folder) for name, value in case.settings.items()}
    core = max(os.sched_getaffinity(0))
    with running(core, "tailrace.service", "--port", "0", TAILRACE_PROVIDER_URL=provider, **settings) as (
        url,
        process,
    ):
        load(url, case, connections, min(1.0, seconds), 10**6)
        before = sum(process.cpu_times()[:2])
        found = load(url, case, connections, seconds, 10**8)
        cpu_s = sum(process.cpu_times()[:2]) - before
    per_core = found["requests"] / cpu_s
    verdict = ("ok" if per_core >= case.goal else "below") if case.goal else ""
    return (
        f"{case.name:<26}{per_core:>10,.0f}{cpu_s / found['requests'] * 1e6:>9.0f}{found['rate']:>10,.0f}"
        f"{found['p50']:>9.2f}{found['p99']:>9.2f}{found['bad']:>6.0f}{case.goal or '–':>8}  {verdict}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    options = parser.parse_args()
    first = min(os.sched_getaffinity(0))
    print(f"{'case':<26}{'per core':>10}{'CPU µs':>9}{'req/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'bad':>6}{'goal':>8}")
    quiet = ("--ttft-s", "0", "--token-s", "0", "--port", "0")
    with tempfile.TemporaryDirectory() as folder, running(first, "tailrace.simulator", *quiet) as (provider, _):
        for case in CASES:
            if options.only in case.name:
                print(measured(case, provider, folder, options.connections, options.seconds), flush=True)


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _ms(text: str) -> float:
    value, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[unit]


if __name__ == "__main__":
    main()
