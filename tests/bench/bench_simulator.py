"""How many requests the simulator answers per second: `python tests/bench/bench_simulator.py`.

The server has one core and wrk another (where there are two); latency is 0, 32 connections, no pipelining.
It prints a table and decides nothing. "CPU µs" is the server's own time for a request, which stands when the
machine has other work; requests/s do not.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

MESSAGES = [{"role": "user", "content": "What is the capital of France, and why is it so?"}]
CHAT = {"model": "gpt-4o-mini", "messages": MESSAGES}
LONG = {**CHAT, "messages": [{"role": "user", "content": "a word or two " * 150}]}
CASES = (
    ("chat", "/chat/completions", CHAT, ()),
    ("chat, prompt of 2 kB", "/chat/completions", LONG, ()),
    ("chat, streamed", "/chat/completions", {**CHAT, "stream": True}, ()),
    ("responses", "/responses", {"model": "gpt-4o-mini", "input": "Name a bird."}, ()),
    ("responses, streamed", "/responses", {"model": "gpt-4o-mini", "input": "Name a bird.", "stream": True}, ()),
    ("embedding, 1536 numbers", "/embeddings", {"model": "text-embedding-3-small", "input": "Name a bird."}, ()),
    ("models", "/models", None, ()),
    ("chat, access log", "/chat/completions", CHAT, ("--log",)),
    ("chat, 2 % of 429", "/chat/completions", CHAT, ("--fault", "kind=rate_limit,probability=0.02")),
)


def main() -> None:
    """Measure every case, and print its row as soon as it is known."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=int, default=3, help="for each case")
    options.add_argument("--connections", type=int, default=32)
    given = options.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not on this machine (Debian: apt install wrk)")
    print(f"{'case':<26}{'requests/s':>12}{'CPU µs':>10}{'p50 ms':>9}{'p99 ms':>9}{'not 2xx':>9}")
    for name, path, body, more in CASES:
        with tempfile.TemporaryDirectory() as folder, simulator(Path(folder), more) as (url, server):
            begin_s = cpu_s(server)
            count, rate, p50, p99, bad = measure(Path(folder), url + path, body, given)
            each_us = 1e6 * (cpu_s(server) - begin_s) / count
        print(f"{name:<26}{rate:>12,.0f}{each_us:>10.0f}{p50:>9.2f}{p99:>9.2f}{bad:>9}", flush=True)


@contextmanager
def simulator(folder: Path, more: tuple[str, ...]) -> Iterator[tuple[str, psutil.Process]]:
    """Run a simulator without latency on the first core."""
    extra = [str(folder / "access.jsonl")] if more == ("--log",) else []
    command = [sys.executable, "-m", "tailrace.simulator", "--ttft-s", "0", "--token-s", "0", *more, *extra]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process, 0)
        try:
            yield process.stdout.readline().split()[-1], psutil.Process(process.pid)
        finally:
            process.terminate()


def measure(
    folder: Path, url: str, body: dict | None, given: argparse.Namespace
) -> tuple[int, float, float, float, int]:
    """Return the count of requests, requests per second, p50 and p99 in ms, and how many answers were not 2xx."""
    script = folder / "request.lua"
    sent = "" if body is None else f"wrk.method = 'POST'\nwrk.body = [==[{json.dumps(body)}]==]\n"
    script.write_text(sent + 'wrk.headers["content-type"] = "application/json"\n')
    command = ["wrk", "-t1", f"-c{given.connections}", f"-d{given.seconds}s", "--latency", "-s", str(script), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        pin(process, 1)
        said = process.communicate()[0]
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
    count = int(re.search(r"(\d+) requests in", said)[1])
    return count, rate, milliseconds(said, "50%"), milliseconds(said, "99%"), int(bad[1]) if bad else 0


def milliseconds(said: str, percent: str) -> float:
    """Return one percentile of wrk's latency table."""
    number, unit = re.search(rf"{percent}\s+([\d.]+)(us|ms|s)\b", said).groups()
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1_000.0}[unit]


def cpu_s(process: psutil.Process) -> float:
    """Return the processor time that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


def pin(process: subprocess.Popen, core: int) -> None:
    """Keep a process on one core, where there are enough and the system can."""
    cores = getattr(psutil.Process, "cpu_affinity", None) and psutil.Process().cpu_affinity()
    if cores and len(cores) > core:
        psutil.Process(process.pid).cpu_affinity([cores[core]])


if __name__ == "__main__":
    main()
