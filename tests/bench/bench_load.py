"""Load generators side by side: `python tests/bench/bench_load.py [--seconds 5] [--peers DIR] [--only NAME]`.

Server on the first core, generator on the last, loopback. Two questions: how many requests a second does one core
make with 32 connections, and does the generator deliver 500/s to a 50 ms server and tell the truth about it. "per
core" is requests per second of the generator's own CPU time, which holds on a machine that is shared, too.

Peers live in environments of their own, `DIR/<peer>` (default: $TAILRACE_PEERS), each made on demand with
`uv venv DIR/locust && uv pip install -p DIR/locust locust`; one that is not there is skipped, and says so.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from bench_peers import PEERS, Missing

from tailrace import load
from tailrace.load import Traffic, arrivals, recorder, tally
from tailrace.records import Record

NULL = [sys.executable, "-m", "tailrace.load.null"]
WIDTHS = "{:<26}{:>10}{:>11}{:>10}   {}"


@dataclass(frozen=True)
class Bench:
    """What every generator is asked to do."""

    url: str
    folder: Path
    seconds: float
    rate: int
    """0: as fast as 32 connections can."""


@contextmanager
def serving(*command: str) -> Iterator[str]:
    """A server of ours on the first core; gives the URL of its API."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        psutil.Process(process.pid).cpu_affinity([cores()[0]])
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def ours(bench: Bench) -> dict[str, float]:
    """tailrace, one worker, records kept."""
    when = arrivals.constant(bench.rate, bench.seconds) if bench.rate else arrivals.users(32, bench.seconds)
    load_run = load.start(Traffic(when), bench.url, bench.folder)
    for child in psutil.Process().children():
        if "tailrace.load.worker" in child.cmdline():
            child.cpu_affinity([cores()[-1]])
    summary = load_run.wait()
    took_ms = tally.count(load_run.parts).from_intended_ms
    return {
        "rate": summary.recorded / summary.duration_s,
        "per_core": summary.recorded / (summary.cpu_share * summary.duration_s),
        "p50": float(np.quantile(took_ms, 0.5, method="inverted_cdf")),
        "p99": float(np.quantile(took_ms, 0.99, method="inverted_cdf")),
        "bytes": sum(part.stat().st_size for part in load_run.parts) / summary.recorded,
        "lag": summary.send_lag_p99_ms,
    }


def wrk(bench: Bench) -> dict[str, float]:
    """The reference in C; it knows no schedule."""
    if bench.rate or not shutil.which("wrk"):
        raise Missing("it has no open loop" if bench.rate else "wrk is not installed")
    script = bench.folder / "chat.lua"
    body = '{"model":"m","messages":[{"role":"user","content":"hello"}]}'
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = [==[{body}]==]\nwrk.headers['content-type'] = 'application/json'\n"
    )
    url = bench.url + "/chat/completions"
    used_s = _used_s()
    said = _pinned(["wrk", "-t1", "-c32", f"-d{bench.seconds:g}s", "-s", str(script), url], bench.seconds)
    count, rate = (float(re.search(p, said)[1]) for p in (r"(\d+) requests in", r"Requests/sec:\s+([\d.]+)"))  # type: ignore[index]
    return {"rate": rate, "per_core": count / (_used_s() - used_s)}


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def peer(name: str) -> Callable[[Bench], dict[str, float]]:
    """A generator from the table of peers, in its own environment."""

    def measured(bench: Bench) -> dict[str, float]:
        home = Path(os.environ.get("TAILRACE_PEERS", "")) / name
        if not os.environ.get("TAILRACE_PEERS") or not (home / "bin" / name).exists():
            raise Missing(f"no environment {home if home.is_absolute() else '$TAILRACE_PEERS/' + name}")
        command, read = PEERS[name](home, bench.url, bench.folder, bench.seconds, bench.rate)
        return read(_pinned(command, bench.seconds))

    return measured


def _pinned(command: list[str], seconds: float) -> str:
    """Run on the last core; gives what it said."""
    process = subprocess.Popen(
        ["taskset", "-c", str(cores()[-1]), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, errors = process.communicate(timeout=seconds * 4 + 120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise Missing(f"{command[0]} did not end") from None
    if process.returncode and not out:
        raise Missing(f"{Path(command[0]).name} ended with {process.returncode}: {errors.strip()[-200:]}")
    return out


def row(name: str, run: Callable[[Bench], dict[str, float]], seconds: float, rate: int, url: str) -> float:
    """Measure, print, and return the rate; 0 when the generator is not there."""
    with tempfile.TemporaryDirectory(prefix="bench-load-") as folder:
        try:
            found = run(Bench(url, Path(folder), seconds, rate))
        except Missing as missing:
            print(WIDTHS.format(name, "–", "–", "–", f"skipped: {missing}"), flush=True)
            return 0.0
    more = " ".join(f"{key} {found[key]:.2f}" for key in ("p50", "p99", "lag", "bytes") if key in found)
    per_core = f"{found['per_core']:,.0f}" if "per_core" in found else "–"
    print(WIDTHS.format(name, f"{rate or 'max'}", f"{found['rate']:,.1f}", per_core, more), flush=True)
    return found["rate"]


def keeping(rows: int) -> None:
    """Record that many rows as fast as they come: bytes a row on disk, and the memory it took."""
    chance = np.random.default_rng(1)
    took = chance.lognormal(10.8, 0.4, 100_000).astype(int).tolist()
    lag = chance.exponential(60, 100_000).astype(int).tolist()
    gaps = chance.exponential(100_000, 100_000).astype(int).tolist()
    plain = Record("r", 0, 0, "s", "p", "blue", "r1", 3, "m", False, "miss", "", 200, 1, 0, 0, 0, 0, 0, 0, 16, 8, 0, 9)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, at = time.perf_counter(), time.perf_counter_ns()
    with tempfile.TemporaryDirectory(prefix="bench-records-") as folder:
        keeper = recorder.Recorder(Path(folder), "part-bench-0")
        for n in range(rows):
            i = n % 100_000
            at += gaps[i]
            keeper.add(
                plain._replace(
                    seq=n,
                    intended_ns=at,
                    send_lag_us=lag[i],
                    service_us=took[i],
                    ttfc_us=took[i] - lag[i] % 50,
                    out_tok=8 + n % 7,
                )
            )
        keeper.close()
        size = sum(part.stat().st_size for part in Path(folder).glob("*.parquet"))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    print(f"{rows:,} records: {size / rows:.1f} bytes each, {grown_mb:.0f} MB of memory, "
          f"{rows / (time.perf_counter() - began):,.0f}/s")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--peers", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    if given.peers:
        os.environ["TAILRACE_PEERS"] = given.peers
    runs = {"tailrace": ours, "wrk": wrk, **{name: peer(name) for name in PEERS}}
    chosen = {name: run for name, run in runs.items() if given.only in name}
    print(WIDTHS.format("generator", "asked", "req/s", "per core", "ms"))
    for rate, server in ((0, NULL), (500, [*NULL, "0.05"])):
        with serving(*server) as url:
            rates = {name: row(name, run, given.seconds, rate, url) for name, run in chosen.items()}
        if not rate and rates.get("tailrace"):
            ratios = [
                f"{rates['tailrace'] / other:.1f}× {name}"
                for name, other in rates.items()
                if other and name != "tailrace"
            ]
            print("tailrace is " + ", ".join(ratios), flush=True)
    if given.rows:
        keeping(given.rows)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
