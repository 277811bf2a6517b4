"""Sends sessions: the first turn of each on schedule, every later one after the answer to the one before it.

Open between sessions, closed within: when a session begins depends on no answer, and a later turn is due its think time
after the *end of the answer* before (and, in a trace, not before its recorded time). So a slow service delays the later
turns of a session, as it delays a user who reads before he writes, and their latency from the intended start counts
from there. What is hidden by this is named in the summary: turns that were not sent, because a turn before them failed
or because the schedule ended first.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from functools import partial
from typing import NamedTuple

from tailrace.load.dispatch import AT_ONCE, Answered, Dispatcher, Keep, Shard
from tailrace.load.outcome import CANCELLED
from tailrace.load.sender import RequestSender
from tailrace.load.sessions import SessionCounts, SessionPlan


class DueTurn(NamedTuple):
    """A turn, and when it is due; of two at one time, the session that began first goes first."""

    due_ns: int
    session: int
    turn: int
    start_ns: int
    """When its session was due to begin."""
    plan: SessionPlan


class TurnQueue:
    """The later turns of the sessions under way, by when they are due. Knows no clock."""

    def __init__(self, end_ns: int) -> None:
        self.counts = SessionCounts()
        self.awaited = 0
        """Turns in flight."""
        self._end_ns = end_ns
        self._waiting: list[DueTurn] = []

    @property
    def next_ns(self) -> int | None:
        """When the next turn is due; None when none waits."""
        return self._waiting[0].due_ns if self._waiting else None

    def begin(self, plan: SessionPlan, start_ns: int) -> DueTurn:
        """Return the first turn of a session, which is sent now."""
        self.counts += SessionCounts(begun=1)
        self.awaited += 1
        return DueTurn(start_ns, plan.number, 0, start_ns, plan)

    def take(self) -> DueTurn:
        """Return the turn that is due next, which is sent now."""
        self.awaited += 1
        return heapq.heappop(self._waiting)

    def answered(self, turn: DueTurn, answer: Answered) -> None:
        """Put the next turn of the session into the queue, or count how the session ended."""
        self.awaited -= 1
        plan, number = turn.plan, turn.turn + 1
        left = len(plan.turns) - number
        if answer.error_type == CANCELLED:
            self.counts += SessionCounts(unfinished=1, turns_after_end=left)
        elif answer.error_type:
            self.counts += SessionCounts(failed=1, turns_after_failure=left)
        elif not left:
            self.counts += SessionCounts(complete=1)
        else:
            pause_ns, not_before_ns = int(plan.turns[number].think_s * 1e9), int(plan.turns[number].due_s * 1e9)
            due_ns = max(answer.ended_ns + pause_ns, turn.start_ns + not_before_ns)
            if due_ns < self._end_ns:
                heapq.heappush(self._waiting, turn._replace(due_ns=due_ns, turn=number))
            else:
                self.counts += SessionCounts(unfinished=1, turns_after_end=left)

    def close(self, ended_ns: int) -> int:
        """Count the turns that still wait as not sent; return how many of them were due before `ended_ns`."""
        for turn in self._waiting:
            self.counts += SessionCounts(unfinished=1, turns_after_end=len(turn.plan.turns) - turn.turn)
        overdue = sum(turn.due_ns <= ended_ns for turn in self._waiting)
        self._waiting.clear()
        return overdue


class SessionDispatcher(Dispatcher):
    """Sends the sessions of one shard, each turn after the answer to the one before it."""

    def __init__(self, shard: Shard, sender: RequestSender, keep: Keep) -> None:
        super().__init__(shard, sender, keep)
        self._begun = self._later = 0
        self._turns = TurnQueue(0)

    @property
    def sessions(self) -> SessionCounts:
        return self._turns.counts

    async def send_all(self, start_ns: int) -> None:
        self._turns = TurnQueue(start_ns + int(self._shard.traffic.arrivals.duration_s * 1e9))
        await super().send_all(start_ns)

    def due(self, ended_ns: int) -> int | None:
        """Return how many requests were due: the first turns by the schedule, and the later ones by the answers."""
        first = super().due(ended_ns) or 0
        return first + self._later + self._turns.close(ended_ns)

    def _due(self) -> None:
        offsets = self._shard.offsets_ns
        assert offsets is not None
        count, now_ns = len(offsets), time.perf_counter_ns()
        for _ in range(AT_ONCE):
            start_ns = self._start_ns + int(offsets[self._begun]) if self._begun < count else None
            waiting = [at_ns for at_ns in (start_ns, self._turns.next_ns) if at_ns is not None]
            if self._stopped.is_set() or not (waiting or self._turns.awaited):
                self._all_sent.set()
                return
            if not waiting:
                return  # the next answer goes on
            if (due_ns := min(waiting)) > now_ns:
                self._alarm.set(due_ns)
                return
            if due_ns == start_ns:
                plan = self._shard.session(self._begun)
                self._begun += 1
                self._send(self._turns.begin(plan, due_ns))
            else:
                self._later += 1
                self._send(self._turns.take())
        self._loop.call_soon(self._due)

    def _send(self, turn: DueTurn) -> None:
        task = self._launch(turn.due_ns, (turn.plan, turn.turn))
        task.add_done_callback(partial(self._answered, turn))

    def _answered(self, turn: DueTurn, task: asyncio.Task[Answered]) -> None:
        if task.cancelled() or task.exception() is not None:
            return  # the dispatcher knows
        self._turns.answered(turn, task.result())
        if not self._all_sent.is_set():
            self._due()
