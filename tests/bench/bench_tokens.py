"""Times of tokens against the truth: `python tests/bench/bench_tokens.py [--seconds 10] [--peers DIR]`.

The server is `tests/integration/load/token_server.py`, which logs when it sends each token; server on the first core,
generator on the last. It prints, in ms, what the server logged and what was measured: 200 streams/s; 2,000 streams
open at once; and AIPerf on the same server, when `DIR/aiperf` holds it (see bench_load). The first row is the CPU
that reading a chunk takes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from bench_peers import tokenizer

from tailrace import analysis, load
from tailrace.histogram import SIZE, Histogram
from tailrace.load import Traffic, Workload, arrivals
from tailrace.load.answers import judge, reader_of
from tailrace.load.http1 import HttpConnection
from tailrace.load.lengths import fixed

SERVER = Path(__file__).parents[1] / "integration" / "load" / "token_server.py"
NAMES = ("p50", "p99")
Figures = dict[str, dict[str, float]]


@contextmanager
def serving(log: Path, *times_s: float) -> Iterator[str]:
    """A server that logs its tokens, on the first core; gives the URL of its API."""
    command = [sys.executable, str(SERVER), str(log), *map(str, times_s)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        psutil.Process(process.pid).cpu_affinity([cores()[0]])
        with suppress(OSError):  # as the generator: what others do on the machine is not to be measured
            os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(1))
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        process.stdin.close()


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def quantiles(values_ms: Any) -> dict[str, float]:
    return {name: float(np.quantile(values_ms, float(name[1:]) / 100, method="inverted_cdf")) for name in NAMES}


def truth(log: Path) -> tuple[Figures, int, int]:
    """Return what the server logged, how many streams it sent, and how many were open at most."""
    logged = json.loads(log.read_bytes())
    streams = [(arrived, np.array(tokens)) for _, arrived, tokens in logged["streams"]]
    found = {
        "TTFT": quantiles([(tokens[0] - arrived) / 1e6 for arrived, tokens in streams]),
        "TPOT": quantiles([(tokens[-1] - tokens[0]) / 1e6 / (len(tokens) - 1) for _, tokens in streams]),
        "ITL": quantiles(np.concatenate([np.diff(tokens) for _, tokens in streams]) / 1e6),
    }
    return found, len(streams), logged["most_open"]


def ours(url: str, folder: Path, rate: int, seconds: float, tokens: int) -> tuple[Figures, load.Summary]:
    """What tailrace measures, with one generator on one core."""
    workload = Workload(stream_share=1, max_tokens=fixed(tokens))
    load_run = load.prepare(Traffic(arrivals.constant(rate, seconds), workload), url, folder)
    for child in psutil.Process().children():
        if "tailrace.load.worker" in child.cmdline():
            child.cpu_affinity([cores()[-1]])
    load_run.begin()
    summary = load_run.wait()
    records = analysis.read(folder)
    records = records[records["outcome"] != "error"]
    rows = [pq.read_table(file) for file in folder.glob("itl-*.parquet")]
    counts = sum(np.bincount(row["bucket"], weights=row["count"], minlength=SIZE) for row in rows)
    found = {
        "TTFT": quantiles(records["ttfc_us"] / 1e3),
        "TPOT": quantiles((records["last_token_us"] - records["ttfc_us"]) / 1e3 / (records["out_tok"] - 1)),
        "ITL": Histogram(np.asarray(counts).astype(np.int64)).percentiles_ms(NAMES),
    }
    return found, summary


def aiperf(home: Path, url: str, folder: Path, rate: int, seconds: float, tokens: int) -> Figures:
    """What AIPerf measures, with one worker on the same core."""
    command = [str(home / "bin" / "aiperf"), "profile", "-m", "mock", "-u", url.removesuffix("/v1"), "--streaming",
               "--endpoint-type", "chat", "--tokenizer", str(tokenizer(home)), "--ui", "none", "--no-gpu-telemetry",
               "--no-server-metrics", "--isl", "16", "--osl", str(tokens), "--use-server-token-count",
               "--num-dataset-entries", "100", "--workers-max", "1", "--record-processor-service-count", "1",
               "--request-rate", str(rate), "--arrival-pattern", "constant", "--extra-inputs", f"max_tokens:{tokens}",
               "--benchmark-duration", f"{round(seconds)}", "--artifact-dir", str(folder)]  # fmt: skip
    done = subprocess.run(["taskset", "-c", str(cores()[-1]), *command], capture_output=True, text=True, check=False,
                          timeout=seconds * 4 + 180)  # fmt: skip
    file = next(folder.rglob("profile_export_aiperf.json"), None)
    if file is None:
        raise SystemExit(f"aiperf wrote no result: {(done.stdout + done.stderr).strip()[-400:]}")
    found = json.loads(file.read_text())
    names = {"TTFT": "time_to_first_token", "TPOT": "inter_token_latency", "ITL": "inter_chunk_latency"}
    return {kind: {name: found[key][name] for name in NAMES} for kind, key in names.items() if key in found}


def table(true: Figures, **measured: Figures) -> None:
    print(f"{'':<18}{'truth':>12}" + "".join(f"{tool:>12}{'off by':>12}" for tool in measured))
    for kind, values in true.items():
        for name, value in values.items():
            cells = [f"{value:.2f}"]
            for figures in measured.values():
                got = figures.get(kind, {}).get(name, float("nan"))
                cells += [f"{got:.2f}", f"{got - value:+.2f}"]
            print(f"{kind:<10}{name:<8}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


class _Wire(asyncio.Transport):
    def write(self, data: Any) -> None: ...

    def abort(self) -> None: ...


async def reading(chunks: int = 200, repeats: int = 200) -> float:
    """Return the µs of CPU that a chunk takes from its arrival on, at best."""
    sys.path.insert(0, str(SERVER.parent))
    import token_server as server

    connection, choose, best = HttpConnection(), reader_of("chat"), {}
    connection.connection_made(_Wire())
    end = server.STOP + server.event(b"[DONE]") + b"0\r\n\r\n"
    for _ in range(repeats):
        for count in (0, chunks):
            answer, began = connection.request(b"", choose), time.process_time_ns()
            for piece in (server.HEAD + server.ROLE, *[server.TOKEN] * count, end):
                connection.data_received(piece)
            assert judge(answer.result()).chunks == count
            best[count] = min(best.get(count, 10**12), time.process_time_ns() - began)
    return (best[chunks] - best[0]) / chunks / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--peers", default="")
    given = parser.parse_args()
    print(f"reading a chunk: {asyncio.run(reading()):.2f} µs of CPU (limit 3)", flush=True)
    for rate, tokens, times_s, least_s in ((200, 32, (0.08, 0.015), 0.0), (200, 20, (0.5, 0.5), 16.0)):
        with tempfile.TemporaryDirectory(prefix="bench-tokens-") as name:
            folder, log = Path(name), Path(name) / "log.json"
            with serving(log, *times_s) as url:
                measured, summary = ours(url, folder / "ours", rate, max(given.seconds, least_s), tokens)
            true, streams, most_open = truth(log)
            print(f"{streams:,} streams of {tokens} tokens at {rate}/s, at most {most_open:,} open: send lag p99 "
                  f"{summary.send_lag_p99_ms:.2f} ms, {summary.cpu_share:.0%} of a core, {summary.errors} failed, "
                  f"{'valid' if summary.valid else summary.reasons}", flush=True)  # fmt: skip
            table(true, tailrace=measured)
    home = Path(given.peers).resolve() / "aiperf"
    if not given.peers or not (home / "bin" / "aiperf").exists():
        print("AIPerf: skipped, no environment --peers DIR/aiperf")
        return
    for rate in (20, 200):
        print(f"the same server at {rate}/s, one tool after the other")
        for tool in ("tailrace", "AIPerf"):
            with tempfile.TemporaryDirectory(prefix="bench-tokens-") as name:
                folder, log = Path(name), Path(name) / "log.json"
                with serving(log) as url:
                    if tool == "AIPerf":
                        measured = aiperf(home, url, folder / "peer", rate, given.seconds, 32)
                    else:
                        measured, _ = ours(url, folder / "ours", rate, given.seconds, 32)
                true, streams, _ = truth(log)
                print(f"{streams:,} streams")
                table(true, **{tool: measured})


if __name__ == "__main__":
    main()
