"""What the dispatcher writes down: each fact of plan and outcome in its own column."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tailrace.load import RequestOutcome, Traffic, Workload, arrivals
from tailrace.load.dispatch import Dispatcher, Shard
from tailrace.load.workload import PlannedRequest
from tailrace.records import Record

MS = 1_000_000
PLAN = PlannedRequest(
    b"{}", "model", True, "tenant", planned_in_tok=101, planned_out_tok=102, prefix_tok=103, session=104, turn=105
)
FACTS = {
    "status": 201, "colour": "blue", "release": "r9", "generation": 7, "attempts": 3, "backoff_us": 11, "chunks": 12,
    "in_tok": 13, "out_tok": 14, "cached_tok": 15, "cost_microusd": 16, "reasoning_tok": 17,
}  # fmt: skip
TIMES_MS = {"byte_ns": 2, "first_ns": 3, "answer_ns": 5, "token_ns": 8, "last_ns": 13}
COLUMNS = {
    "byte_ns": "ttfb_us",
    "first_ns": "ttfc_us",
    "answer_ns": "ttfa_us",
    "token_ns": "last_token_us",
    "last_ns": "service_us",
}


class Planned(Workload):
    """One request, always."""

    def request(self, n: int, arrival: object = None) -> PlannedRequest:
        return PLAN


class Sender:
    """Answers at once, with times after the one at which it was called."""

    def __init__(self, **differences: object) -> None:
        self.differences, self.called_ns = differences, 0

    async def send(self, seq: int, request: PlannedRequest) -> RequestOutcome:
        self.called_ns = time.perf_counter_ns()
        times = {name: self.called_ns + ms * MS for name, ms in TIMES_MS.items()}
        return RequestOutcome(**{**FACTS, **times, "gaps_us": (4, 5), **self.differences})  # type: ignore[arg-type]

    async def close(self) -> None: ...


def recorded(sender: Sender) -> tuple[Record, Sequence[int]]:
    """The record of one request and its gaps."""

    async def go() -> list[tuple[Record, Sequence[int]]]:
        kept: list[tuple[Record, Sequence[int]]] = []
        schedule = arrivals.constant(1, 1)
        traffic = Traffic(schedule, Planned(), 1, phase="phase", step="step", run_id="run")
        shard = Shard(traffic, 0, schedule.offsets_ns(0, 1), ())
        dispatcher = Dispatcher(shard, sender, lambda record, gaps_us: kept.append((record, gaps_us)))
        await dispatcher.send_all(time.perf_counter_ns())
        await dispatcher.await_answers(60)
        return kept

    (only,) = asyncio.run(go())
    return only


def test_each_fact_has_its_column():
    """Facts of the traffic, the plan and the outcome are where their names say."""
    record, gaps_us = recorded(Sender())
    assert (record.run_id, record.step, record.phase, record.shard, record.seq) == ("run", "step", "phase", 0, 0)
    assert (record.model, record.stream, record.outcome, record.error_type) == ("model", True, "miss", "")
    assert {name: getattr(record, name) for name in FACTS} == FACTS
    planned = ("planned_in_tok", "planned_out_tok", "prefix_tok", "session", "turn")
    assert {name: getattr(record, name) for name in planned} == {name: getattr(PLAN, name) for name in planned}
    assert tuple(gaps_us) == (4, 5)


def test_times_count_from_when_the_request_was_sent():
    """The time before is the lag, and each time of the answer has its column."""
    sender = Sender()
    record, _ = recorded(sender)
    sent_ns = record.intended_ns + record.send_lag_us * 1_000
    for name, ms in TIMES_MS.items():
        told_ns = sent_ns + getattr(record, COLUMNS[name]) * 1_000
        assert abs(told_ns - (sender.called_ns + ms * MS)) < 2_000, name


def test_what_did_not_come_has_no_time():
    """Without a token there is no time of one, and not the time zero."""
    record, _ = recorded(Sender(byte_ns=0, first_ns=0, answer_ns=0, token_ns=0, error_type="empty_answer"))
    assert (record.ttfb_us, record.ttfc_us, record.ttfa_us, record.last_token_us) == (-1, -1, -1, -1)
    assert (record.outcome, record.error_type) == ("error", "empty_answer")


def test_a_hit_is_a_hit():
    """By what the cache says."""
    assert recorded(Sender(cache="coalesced"))[0].outcome == "hit"
