"""A load run: generator processes that start together, are watched and stopped, and never outlive this process.

    with start(traffic, url, out) as load_run:    # returns once the first request is due
        …switch, break, wait…
    load_run.summary                              # leaving the block waits for the schedule's end

`run` starts and waits; `prepare` starts the processes, and leaves it to `begin` to start the schedule. The processes
read their orders from pipes: when this process dies, for whatever reason, they write their records and end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from tailrace.errors import LoadError
from tailrace.host import files
from tailrace.load import beside
from tailrace.load.live import Board, LoadSnapshot, ShardProgress
from tailrace.load.summary import LoadFacts, ShardResult, Summary, parts, summarise
from tailrace.load.traffic import Traffic

_READY_WITHIN_S = 30.0
_HEAD_START_NS = 20_000_000
_WRITE_WITHIN_S = 15.0  # for the last parts, after the last answer


class _Process:
    """One worker, and the threads that read its messages."""

    def __init__(self, shard: int, order: dict[str, Any], board: Board) -> None:
        self.shard = shard
        self.result: ShardResult | None = None
        self.failure = ""
        self.ready = threading.Event()
        self._board = board
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tailrace.load.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.send(order)
        self._errors: list[bytes] = []
        self._threads = [
            threading.Thread(target=read, daemon=True) for read in (self._read_messages, self._read_errors)
        ]
        for thread in self._threads:
            thread.start()

    def send(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):
            assert self.child.stdin is not None
            self.child.stdin.write(orjson.dumps(message) + b"\n")
            self.child.stdin.flush()

    def join(self, timeout_s: float) -> None:
        """Wait until the process has ended; kill it when that takes longer than `timeout_s`."""
        try:
            self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            self.failure = self.failure or f"generator process {self.shard} did not end and was killed"
        for thread in self._threads:
            thread.join(5)
        for pipe in (self.child.stdin, self.child.stdout, self.child.stderr):
            _close(pipe)
        if self.result is None and not self.failure:
            tail = b"".join(self._errors[-5:]).decode(errors="replace").strip()
            status, stderr = self.child.returncode, tail or "nothing on stderr"
            self.failure = f"generator process {self.shard} ended with status {status}: {stderr}"

    def end(self) -> None:
        """Kill it at once: nothing was sent yet."""
        self.child.kill()
        self.join(5)

    def _read_messages(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            message = orjson.loads(line)
            if "progress" in message:
                t_ns, sent, done, errors, counts = message["progress"]
                progress = ShardProgress(t_ns, sent, done, errors, {int(bucket): n for bucket, n in counts.items()})
                self._board.add(self.shard, progress)
            elif "finished" in message:
                self.result = ShardResult(self.shard, **message["finished"])
            elif "failed" in message:
                self.failure = f"generator process {self.shard}: {message['failed']}"
            self.ready.set()
        self.ready.set()

    def _read_errors(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            self._errors = [*self._errors[-19:], line]


class LoadRun:
    """Traffic under way, or prepared.

    As a context manager it begins, unless it has begun, and waits at the end of the block, or stops when that raises.
    """

    def __init__(self, traffic: Traffic, out: Path, processes: list[_Process], prefix: str, board: Board) -> None:
        self.traffic, self.out = traffic, out
        self.start_ns = 0
        """When the schedule began, on `perf_counter_ns`."""
        self._processes, self._prefix, self._board = processes, prefix, board
        self.beside = [beside.machine()]
        """What is sampled from the beginning of the load run to its end, and kept beside its records."""
        self._stopped_ns = 0
        self._summary: Summary | None = None

    @property
    def prefix(self) -> str:
        """How the names of its record files begin."""
        return self._prefix

    @property
    def parts(self) -> list[Path]:
        """The record files that are complete so far."""
        return parts(self.out, self._prefix)

    @property
    def snapshot(self) -> LoadSnapshot:
        """Counters, and the rate and percentiles of the last seconds: cheap, for a live line."""
        return self._board.snapshot()

    @property
    def running(self) -> bool:
        """Whether a generator process is still alive."""
        return any(process.child.poll() is None for process in self._processes)

    @property
    def summary(self) -> Summary:
        """The summary of the finished load run; waits for its end."""
        return self.wait()

    def await_ready(self) -> None:
        """Wait until all processes are ready to send.

        Raises LoadError when one of them cannot get ready; all are ended then, and nothing was sent.
        """
        try:
            self._await_ready()
        except BaseException:  # Ctrl-C, too: nothing else would end these processes
            for process in self._processes:
                process.end()
            raise

    def begin(self) -> None:
        """Wait until all processes are ready, then start them at one time; raises LoadError as `await_ready` does."""
        self.await_ready()
        for samples in self.beside:
            samples.start()
        self.start_ns = time.perf_counter_ns() + _HEAD_START_NS
        for process in self._processes:
            process.send({"go": self.start_ns})

    def wait(self) -> Summary:
        """Wait until the schedule has ended and every request is answered or timed out. Ctrl-C keeps the records."""
        if not self.start_ns:
            self.begin()
        if self._summary is None:
            try:
                self._join(self._remaining_s() + self.traffic.timeout_s)
            except KeyboardInterrupt:
                self.stop(grace_s=1.0)
                raise
        assert self._summary is not None
        return self._summary

    def stop(self, grace_s: float = 5.0) -> Summary:
        """Stop sending; requests in flight have `grace_s` to end, the others are recorded as "cancelled"."""
        if self._summary is None:
            self._stopped_ns = self._stopped_ns or time.perf_counter_ns()
            for process in self._processes:
                process.send({"stop": grace_s})
            self._join(grace_s)
        assert self._summary is not None
        return self._summary

    def __enter__(self) -> Self:
        if not self.start_ns:
            self.begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wait() if kind is None else self.stop(grace_s=1.0)

    def _await_ready(self) -> None:
        arrivals = self.traffic.arrivals
        within_s = _READY_WITHIN_S + (arrivals.reading_s if arrivals.kind == "trace" else 0.0)
        deadline = time.monotonic() + within_s
        for process in self._processes:
            process.ready.wait(max(0.0, deadline - time.monotonic()))
        broken = [process for process in self._processes if process.failure or process.child.poll() is not None]
        unready = [process for process in self._processes if not process.ready.is_set()]
        if broken or unready:
            facts = "; ".join(process.failure for process in broken) or f"{len(unready)} not ready"
            raise LoadError(f"no traffic was sent to this URL: {facts} (limit {within_s:g} s to get ready)")

    def _remaining_s(self) -> float:
        return max(0.0, self.start_ns / 1e9 + self.traffic.arrivals.duration_s - time.perf_counter_ns() / 1e9)

    def _join(self, within_s: float) -> None:
        deadline = time.monotonic() + within_s + _WRITE_WITHIN_S
        for process in self._processes:
            process.join(max(0.1, deadline - time.monotonic()))
        for samples in self.beside:
            samples.stop(self.out, self._prefix.removeprefix("part-"))
        span_s = self.traffic.arrivals.duration_s
        if self._stopped_ns:
            span_s = min(span_s, (self._stopped_ns - self.start_ns) / 1e9)
        facts = LoadFacts(
            self.traffic.loop,
            self.traffic.shards,
            self.start_ns,
            max(span_s, 1e-9),
            tuple(process.result for process in self._processes if process.result),
            tuple(process.failure for process in self._processes if process.failure),
        )
        self._summary = summarise(self.parts, facts)
        note = {"traffic": self.traffic.describe(), "facts": asdict(facts), "summary": asdict(self._summary)}
        files.replace(self.out / f"_{self._prefix}.json", orjson.dumps(note, option=orjson.OPT_INDENT_2))


def start(
    traffic: Traffic, url: str, out: Path, sender: str = "http", options: Mapping[str, Any] | None = None
) -> LoadRun:
    """Start to send the traffic to `url` (the base of the API, with its `/v1`); records go to `out/part-*.parquet`.

    Raises LoadError when a generator process cannot get ready; nothing was sent then.
    """
    load_run = prepare(traffic, url, out, sender, options)
    load_run.begin()
    return load_run


def prepare(
    traffic: Traffic, url: str, out: Path, sender: str = "http", options: Mapping[str, Any] | None = None
) -> LoadRun:
    """Start the generator processes of the traffic, and send nothing before the load run begins.

    Several load runs can get ready side by side, before the first of them measures anything.
    """
    files.make_folder(out)
    prefix, board = f"part-{secrets.token_hex(4)}", Board()
    order = {"traffic": traffic.describe(), "url": url, "out": os.fspath(out), "sender": sender}
    order["options"] = dict(options or {})
    processes: list[_Process] = []
    try:
        for shard in range(traffic.shards):
            processes.append(_Process(shard, {**order, "shard": shard, "prefix": f"{prefix}-{shard}"}, board))
    except BaseException:  # Ctrl-C, too: nothing else would end these processes
        for process in processes:
            process.end()
        raise
    return LoadRun(traffic, out, processes, prefix, board)


def run(
    traffic: Traffic, url: str, out: Path, sender: str = "http", options: Mapping[str, Any] | None = None
) -> Summary:
    """Start the traffic and wait for its end."""
    return start(traffic, url, out, sender, options).wait()


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(OSError):
            pipe.close()
