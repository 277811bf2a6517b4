"""Was no request lost in the switch? The client's records are compared with the edge's counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tailrace.analysis import frames, schedule
from tailrace.deploy import Counters
from tailrace.deploy.edge import other
from tailrace.deploy.outcome import DeployOutcome
from tailrace.load import Summary
from tailrace.load.calibration import Floor
from tailrace.records import ERROR
from tailrace.validity import THRESHOLDS
from tailrace.verdict import Check

# A request that failed like this never reached the edge, so the edge cannot have counted it.
NEVER_ARRIVED = frozenset({"connect", "tls"})


@dataclass(frozen=True)
class Reconciled:
    """Both counts; `unexplained` is what one side counted and the other cannot account for."""

    requests: int
    failed: int
    unexplained: int
    edge_requests: int
    edge_failed: int

    @property
    def zero(self) -> bool | None:
        """Whether nothing failed and nothing is unexplained; None when there was no request."""
        return None if not self.requests else self.failed == self.unexplained == 0

    def document(self) -> dict[str, Any]:
        return vars(self)

    def checks(self) -> list[Check]:
        """Return the two checks that make up "zero failed"."""
        some = None if not self.requests else True
        return [
            Check("no request failed", some and self.failed == 0, f"{self.failed:,} of {self.requests:,} failed"),
            Check(
                "client and edge counted the same",
                some and self.unexplained == 0,
                f"client {self.requests:,} with {self.failed:,} failed, edge {self.edge_requests:,} with "
                f"{self.edge_failed:,} failed; {self.unexplained:,} unexplained",
            ),
        ]


def reconcile(records: pd.DataFrame, counters: Counters) -> Reconciled:
    """Compare the client's records with what the edge counted in the same time.

    Each request that arrived has to be in both counts, and each that the edge failed has to be a failure of the
    client. A failure that only the client saw (a time-out, a cut connection) is a failure, but not unexplained.
    """
    errors = records[records["outcome"] == ERROR]
    arrived = len(records) - int(errors["error_type"].isin(NEVER_ARRIVED).sum())
    only_at_edge = max(0, counters.failed - len(errors))
    return Reconciled(
        requests=len(records),
        failed=len(errors),
        unexplained=abs(arrived - counters.requests) + only_at_edge,
        edge_requests=counters.requests,
        edge_failed=counters.failed,
    )


def no_request_on_old(records: pd.DataFrame, outcome: DeployOutcome) -> Check:
    """Decide whether a request sent after the edge's acknowledgement still went to the old colour."""
    old = other(outcome.to_colour)
    name = f"no new request on {old} after the acknowledgement"
    ack_ns = outcome.at("switched")
    if ack_ns is None:
        return Check(name, None, f"nothing was acknowledged: {outcome.result}")
    after = _sent_after(records, ack_ns)
    late = int((after["colour"] == old).sum())
    return Check(name, None if after.empty else late == 0, f"{late:,} of the {len(after):,} requests sent after it")


def no_answer_cut(outcome: DeployOutcome) -> Check:
    """Decide whether the drain ended before its deadline, with no answer cut off half-way."""
    fact = f"{outcome.cut:,} requests were cut off" + (f"; {outcome.why}" if outcome.why else "")
    return Check("no answer was cut off at the drain deadline", outcome.cut == 0, fact)


def no_stream_cut(records: pd.DataFrame, no_chat: str = "") -> Check:
    """Decide whether every stream of the switch was whole; `no_chat` says why users of this service send none."""
    name = "no stream was cut"
    streams = records[records["stream"].astype(bool)]
    if streams.empty:
        return Check.skip(name, no_chat or "no request streamed its answer (stream_share is 0)")
    failed = int((streams["outcome"] == ERROR).sum())
    return Check(name, failed == 0, f"{failed:,} of {len(streams):,} streams failed")


def kept_schedule(summaries: Sequence[Summary], floor: Floor | None = None) -> Check:
    """Decide whether the load generator sent its requests when they were due; `floor` is added to the fact."""
    name = "the load generator kept its schedule"
    if not summaries:
        return Check(name, None, "no load was generated")
    reasons = [reason for summary in summaries for reason in summary.reasons]
    worst = max(summary.send_lag_p99_ms for summary in summaries)
    sent = sum(summary.sent for summary in summaries)
    intended = sum(summary.intended for summary in summaries)
    fact = f"{sent:,} of {intended:,} requests sent; worst send lag p99 {worst:.1f} ms"
    # A late generator says nothing against the service: the numbers are in doubt.
    return Check(name, None if reasons else True, ("; ".join(reasons) or fact) + (f"; {floor}" if floor else ""))


def on_schedule(records: pd.DataFrame) -> Check:
    """Decide the same as `kept_schedule` from records alone."""
    name = "the load generator kept its schedule"
    generator = schedule.generator(records)
    if generator is None:
        return Check(name, None, f"{len(records)} records say nothing about a schedule")
    reasons, limit_ms = generator.invalid_reasons(), generator.send_lag_limit_ms()
    fact = (
        f"{generator.achieved:.1%} of the intended rate (limit {THRESHOLDS.achieved:.0%}), "
        f"send lag p99 {generator.send_lag_p99_ms:.1f} ms (limit {limit_ms:g} ms)"
    )
    return Check(name, None if reasons else True, fact)


def refused(records: pd.DataFrame, outcome: DeployOutcome) -> list[Check]:
    """Decide whether a release that never gets ready was refused, and no user noticed."""
    new = other(outcome.to_colour)
    on_new, failed = int((records["colour"] == new).sum()), int((records["outcome"] == ERROR).sum())
    some = None if records.empty else True
    subject = "a release that never gets ready"
    return [
        Check(f"{subject} is refused", outcome.result == "refused", outcome.why or f"it was {outcome.result}"),
        Check(f"{subject} gets no traffic", some and on_new == 0, f"{on_new:,} of {len(records):,} requests"),
        Check(f"{subject} fails no request", some and failed == 0, f"{failed:,} of {len(records):,} failed"),
    ]


def rolled_back(records: pd.DataFrame, outcome: DeployOutcome, within_s: float) -> list[Check]:
    """Decide whether a release that failed under traffic was rolled back automatically, in time, and for good."""
    name = "a release that fails while it bakes is rolled back automatically"
    if outcome.result == "skipped":
        return [Check.skip(name, outcome.why)]
    began, ended = outcome.at("switched"), outcome.at("rolling back")
    if outcome.result != "rolled back" or began is None or ended is None:
        return [Check(name, False, outcome.why or f"it was {outcome.result}")]
    took_s = (ended - began) / 1e9
    after = _sent_after(records, ended)
    late = int((after["outcome"] == ERROR).sum())
    return [
        Check(name, took_s <= within_s, f"{took_s:.2f} s after the switch (limit {within_s:g} s): {outcome.why}"),
        Check(
            "no request fails after the rollback",
            None if after.empty else late == 0,
            f"{late:,} of the {len(after):,} requests sent after it",
        ),
    ]


def _sent_after(records: pd.DataFrame, t_ns: int) -> pd.DataFrame:
    return records[frames.sent_ns(records) > t_ns]
