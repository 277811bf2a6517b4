"""Sends requests on schedule, in an open or a closed loop.

The schedule is absolute and never shifted: after a pause of the generator, everything that is due by then goes out
at once, and its lag is recorded. A request is timed from when it was intended, and from when it was sent.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tailrace.load.alarm import Alarm
from tailrace.load.arrivals import Offsets, Users
from tailrace.load.outcome import CANCELLED, HITS, TIMEOUT, RequestOutcome, of_exception
from tailrace.load.sender import RequestSender
from tailrace.load.sessions import SessionPlan
from tailrace.load.traces import Arrival
from tailrace.load.traffic import Traffic
from tailrace.load.workload import PlannedRequest
from tailrace.records import ERROR, HIT, MISS, Record

Keep = Callable[[Record, Sequence[int]], None]

AT_ONCE: Final = 64  # sent in one turn of the loop before answers are read again


class Shard(NamedTuple):
    """The part of the traffic that one worker sends."""

    traffic: Traffic
    number: int
    offsets_ns: Offsets | None
    """None in a closed loop."""
    arrivals: Sequence[Arrival]
    """Of a trace: all of them, for all shards; empty otherwise."""
    plans: Sequence[SessionPlan] = ()
    """Of a trace of sessions: all of them, for all shards; empty otherwise."""

    def place(self, seq: int) -> int:
        """Return the place of request `seq` of this shard in the whole traffic."""
        return seq * self.traffic.shards + self.number

    def request(self, seq: int) -> PlannedRequest:
        place = self.place(seq)
        return self.traffic.workload.request(place, self.arrivals[place] if self.arrivals else None)

    def session(self, seq: int) -> SessionPlan:
        """Return session `seq` of this shard: every `shards`-th one is sent here, with all of its turns."""
        place = self.place(seq)
        return self.plans[place] if self.plans else self.traffic.workload.session(place)


class Answered(NamedTuple):
    """How a request ended."""

    ended_ns: int
    error_type: str


class Dispatcher:
    """Sends the requests of one shard; calls `keep` with the record of each, and the gaps between its tokens."""

    def __init__(self, shard: Shard, sender: RequestSender, keep: Keep) -> None:
        self.sent = self.done = self.errors = 0
        self.failure: BaseException | None = None
        self._shard, self._sender, self._keep = shard, sender, keep
        self._tasks: set[asyncio.Task[Answered]] = set()
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._alarm = Alarm(self._loop, self._due)
        self._start_ns = 0

    async def send_all(self, start_ns: int) -> None:
        """Send everything that is due, until the schedule ends or `stop` is called; does not wait for answers."""
        self._start_ns = start_ns
        arrivals = self._shard.traffic.arrivals
        if isinstance(arrivals, Users):
            await self._users(arrivals)
        else:
            self._due()
            await self._all_sent.wait()
        self._alarm.close()

    async def await_answers(self, within_s: float) -> None:
        """Wait for requests in flight; after `within_s`, cancel them and record them as cancelled."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def due(self, ended_ns: int) -> int | None:
        """Return how many requests of the schedule were due by then; None in a closed loop."""
        offsets = self._shard.offsets_ns
        return None if offsets is None else int((offsets + self._start_ns <= ended_ns).sum())

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()
        self._all_sent.set()

    def _due(self) -> None:
        offsets = self._shard.offsets_ns
        assert offsets is not None
        count, now_ns = len(offsets), time.perf_counter_ns()
        for _ in range(AT_ONCE):
            if self.sent >= count or self._stopped.is_set():
                self._all_sent.set()
                return
            intended_ns = self._start_ns + int(offsets[self.sent])
            if intended_ns > now_ns:
                self._alarm.set(intended_ns)
                return
            self._launch(intended_ns)
        self._loop.call_soon(self._due)

    def _launch(self, intended_ns: int, turn: tuple[SessionPlan, int] | None = None) -> asyncio.Task[Answered]:
        task = self._loop.create_task(self._one(self.sent, intended_ns, turn))
        self.sent += 1
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Answered]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failure = self.failure or error  # a request without a record: the load run is not valid
            self.stop()

    async def _users(self, users: Users) -> None:
        end_ns = self._start_ns + int(users.duration_s * 1e9)
        mine = range(self._shard.number, users.count, self._shard.traffic.shards)
        await asyncio.gather(*(self._user(users, number, end_ns) for number in mine))

    async def _user(self, users: Users, number: int, end_ns: int) -> None:
        """Send, wait for the answer and think, again and again. The end of the thinking is the intended time."""
        random_think = random.Random(f"{users.seed} {number}") if users.seed is not None else None
        await self._pause(self._start_ns)
        intended_ns = max(self._start_ns, time.perf_counter_ns())
        while intended_ns < end_ns and not self._stopped.is_set():
            await asyncio.wait((self._launch(intended_ns),))
            think_s = -users.think_s * math.log1p(-random_think.random()) if random_think else users.think_s
            intended_ns = time.perf_counter_ns() + int(think_s * 1e9)
            if think_s:
                await self._pause(min(intended_ns, end_ns))

    async def _pause(self, until_ns: int) -> None:
        try:
            async with asyncio.timeout(max(0.0, (until_ns - time.perf_counter_ns()) / 1e9)):
                await self._stopped.wait()
        except TimeoutError:
            pass

    async def _one(self, seq: int, intended_ns: int, turn: tuple[SessionPlan, int] | None) -> Answered:
        request = self._shard.request(seq) if turn is None else self._shard.traffic.workload.turn(*turn)
        sent_ns = time.perf_counter_ns()
        try:
            async with asyncio.timeout(self._shard.traffic.timeout_s):
                outcome = await self._sender.send(self._shard.place(seq), request)
        except TimeoutError:
            outcome = RequestOutcome(TIMEOUT)
        except asyncio.CancelledError:
            outcome = RequestOutcome(CANCELLED)
        except Exception as error:
            outcome = RequestOutcome(of_exception(error))
        self.done += 1
        self.errors += bool(outcome.error_type)
        end_ns = outcome.last_ns or time.perf_counter_ns()
        self._keep(self._record(request, outcome, seq, (intended_ns, sent_ns, end_ns)), outcome.gaps_us)
        return Answered(end_ns, outcome.error_type)

    def _record(
        self, request: PlannedRequest, outcome: RequestOutcome, seq: int, times_ns: tuple[int, int, int]
    ) -> Record:
        """Return the record of a request that was intended, sent and ended at `times_ns`."""
        traffic, (intended_ns, sent_ns, end_ns) = self._shard.traffic, times_ns
        verdict = ERROR if outcome.error_type else HIT if outcome.cache in HITS else MISS
        # In the order of the columns: with their names, this would take twice the time, for each request.
        return Record(
            traffic.run_id, self._shard.number, seq, traffic.step, traffic.phase,
            outcome.colour, outcome.release, outcome.generation, request.model, request.stream,
            verdict, outcome.error_type, outcome.status, outcome.attempts,
            intended_ns, (sent_ns - intended_ns) // 1000, (end_ns - sent_ns) // 1000,
            (outcome.first_ns - sent_ns) // 1000 if outcome.first_ns else -1, outcome.backoff_us, outcome.chunks,
            outcome.in_tok, outcome.out_tok, outcome.cached_tok, outcome.cost_microusd,
            (outcome.byte_ns - sent_ns) // 1000 if outcome.byte_ns else -1,
            (outcome.answer_ns - sent_ns) // 1000 if outcome.answer_ns else -1,
            (outcome.token_ns - sent_ns) // 1000 if outcome.token_ns else -1, outcome.reasoning_tok,
            request.planned_in_tok, request.planned_out_tok, request.prefix_tok, request.session, request.turn,
        )  # fmt: skip
