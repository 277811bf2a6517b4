"""One generator process: `python -m tailrace.load.worker`, started and controlled by a `LoadRun`.

It reads lines of JSON from stdin, and writes lines of JSON to stdout:

    →  {"traffic": …, "shard": 0, "url": …, "out": …, "prefix": …, "sender": …, "options": …}
    ←  {"ready": true}                                 →  {"go": <perf_counter_ns>}
    ←  {"progress": [t_ns, sent, done, errors, buckets]} …   →  {"stop": <grace in seconds>}
    ←  {"finished": {…}}    or at any time     ←  {"failed": "what went wrong"}

It never outlives its parent: the end of stdin is an order to stop, and a timer ends a process that does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tailrace import descriptors
from tailrace.errors import LoadError
from tailrace.load import live, sender, sessions
from tailrace.load.dispatch import Dispatcher, Shard
from tailrace.load.pulse import Pulse
from tailrace.load.recorder import Recorder
from tailrace.load.traces import Trace
from tailrace.load.traffic import restore
from tailrace.load.turns import SessionDispatcher
from tailrace.records import Record

BEGIN_WITHIN_S = 300.0
"""How long a process that is ready stays, when nobody starts or ends its load run."""
_REPORT_S = 0.5
_ORPHAN_GRACE_S = 1.0
_WRITE_S = 10.0  # after the grace, to write the last part


class Worker:
    """Runs one shard of a load run."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._go: asyncio.Future[int] = self._loop.create_future()
        self._latencies_us: list[int] = []
        self._grace_s: float | None = None
        self._stopped_ns = 0
        self._dispatcher: Dispatcher | None = None

    async def run(self) -> None:
        """Prepare, wait for the start, send everything, await the answers and report."""
        shard, recorder, pulse = self._prepare(), self._recorder(), Pulse(self._loop)
        traffic = shard.traffic
        options = {**self._order["options"], "timeout_s": traffic.timeout_s}
        driver = await sender.build(self._order["sender"], self._order["url"], traffic.workload, options)
        in_sessions = traffic.workload.sessions is not None
        self._dispatcher = dispatcher = (SessionDispatcher if in_sessions else Dispatcher)(
            shard, driver, self._keep(recorder)
        )
        if shard.offsets_ns is None or len(shard.offsets_ns):  # builds the vocabulary before the first request is due
            traffic.workload.turn(shard.session(0), 0) if in_sessions else shard.request(0)
        _relax_garbage_collection()
        if traffic.loop == "open":
            _raise_priority()
        send({"ready": True})
        threading.Thread(target=self._listen, name="orders", daemon=True).start()
        start_ns = await self._begun()
        pulse.restart()
        reporting = self._loop.create_task(self._report(dispatcher, recorder))
        await dispatcher.send_all(start_ns)
        await dispatcher.await_answers(traffic.timeout_s if self._grace_s is None else self._grace_s)
        ended_ns = self._stopped_ns or time.perf_counter_ns()
        reporting.cancel()
        self._send_progress(dispatcher)
        vitals = pulse.vitals()
        pulse.close()
        await driver.close()
        await asyncio.to_thread(recorder.close)
        if dispatcher.failure is not None:
            raise dispatcher.failure
        due = dispatcher.due(ended_ns)
        counts = asdict(dispatcher.sessions) if isinstance(dispatcher, SessionDispatcher) else None
        finished = {"sent": dispatcher.sent, "due": due, "ended_ns": ended_ns, "sessions": counts}
        send({"finished": finished | vitals._asdict()})

    async def _begun(self) -> int:
        """Return when to start; raises LoadError when a load run that was prepared never begins."""
        try:
            return await asyncio.wait_for(self._go, BEGIN_WITHIN_S)
        except TimeoutError:
            raise LoadError(f"the load run did not begin within {BEGIN_WITHIN_S:g} s") from None

    def _prepare(self) -> Shard:
        traffic, number = restore(self._order["traffic"]), int(self._order["shard"])
        arrivals = traffic.arrivals
        if arrivals.kind == "users":
            return Shard(traffic, number, None, ())
        if isinstance(arrivals, Trace) and traffic.workload.sessions is not None:
            plans = sessions.of_trace(arrivals)
            starts_s = np.array([plan.start_s for plan in plans[number :: traffic.shards]], dtype=np.float64)
            return Shard(traffic, number, (starts_s * 1e9).astype(np.int64), (), plans)
        of_trace = arrivals.arrivals() if isinstance(arrivals, Trace) else ()
        return Shard(traffic, number, arrivals.offsets_ns(number, traffic.shards), of_trace)

    def _recorder(self) -> Recorder:
        part_s = float(self._order["traffic"]["part_s"])
        return Recorder(Path(self._order["out"]), self._order["prefix"], part_s)

    def _keep(self, recorder: Recorder) -> Any:
        latencies_us, add = self._latencies_us, recorder.add

        def keep(record: Record, gaps_us: Sequence[int]) -> None:
            add(record, gaps_us)
            latencies_us.append(record.send_lag_us + record.service_us)

        return keep

    async def _report(self, dispatcher: Dispatcher, recorder: Recorder) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            recorder.tick()
            self._send_progress(dispatcher)

    def _send_progress(self, dispatcher: Dispatcher) -> None:
        counts = live.buckets(self._latencies_us)
        self._latencies_us.clear()
        send({"progress": (time.perf_counter_ns(), dispatcher.sent, dispatcher.done, dispatcher.errors, counts)})

    def _listen(self) -> None:
        """Read orders in a thread of its own, so that a busy event loop does not miss the end of stdin."""
        with contextlib.suppress(ValueError, OSError):
            while line := sys.stdin.buffer.readline():
                order = orjson.loads(line)
                if "go" in order:
                    self._loop.call_soon_threadsafe(self._go.set_result, order["go"])
                elif "stop" in order:
                    self.stop(float(order["stop"]))
        self.stop(_ORPHAN_GRACE_S)

    def stop(self, grace_s: float) -> None:
        """Stop sending, give requests in flight `grace_s`, and end the process if it lasts longer. Thread-safe."""
        with contextlib.suppress(RuntimeError):  # the event loop is closed: everything is done
            self._loop.call_soon_threadsafe(self._stop, grace_s)
        _deadline(grace_s + _WRITE_S)

    def _stop(self, grace_s: float) -> None:
        if self._grace_s is not None:
            return
        self._grace_s, self._stopped_ns = grace_s, time.perf_counter_ns()
        if not self._go.done():
            self._go.set_result(time.perf_counter_ns())
        if self._dispatcher is not None:
            self._dispatcher.stop()


def _deadline(within_s: float) -> None:
    timer = threading.Timer(within_s, os._exit, (4,))
    timer.daemon = True
    timer.start()


def _relax_garbage_collection() -> None:
    """Exempt the objects so far from garbage collection, and collect seldom: each collection is a pause."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _raise_priority() -> None:
    """Take a real-time priority, where that is allowed, so that a busy machine does not delay the schedule.

    For this thread alone; and never in a closed loop, which would take a core for itself.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def send(message: dict[str, Any]) -> None:
    """Write one line to stdout; ignore a parent that is gone, and drop progress that it does not read."""
    with contextlib.suppress(OSError, ValueError):
        os.set_blocking(1, "progress" not in message)
        os.write(1, orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS) + b"\n")


async def _run(order: dict[str, Any]) -> None:
    worker = Worker(order)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, worker.stop, _ORPHAN_GRACE_S)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # Ctrl-C is for the parent, which sends a stop
    await worker.run()


def main() -> int:
    """Entry point of the child process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.setswitchinterval(0.0005)
    descriptors.raise_limit()
    order = orjson.loads(sys.stdin.buffer.readline())
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(order))
    except Exception as error:  # of any kind: unsaid, it would be hidden by the interpreter's own last words
        send({"failed": f"{type(error).__name__}: {error}"})
        return 3
    return 0


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    # Everything is written and closed; the thread that reads orders would delay an orderly exit.
    status = main()
    sys.stderr.flush()
    os._exit(status)
