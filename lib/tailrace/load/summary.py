"""A load run in numbers, counted from its records, and whether it is valid.

A load run is invalid when the generator did not keep its schedule (`tailrace.validity`), when a shard or records are
missing, and when there are no records at all: no data is never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailrace.load.sessions import SessionCounts
from tailrace.load.tally import Tally, count
from tailrace.percentiles import inverted_cdf
from tailrace.validity import THRESHOLDS, Generator, Thresholds


@dataclass(frozen=True)
class ShardResult:
    """The last report of one worker."""

    shard: int
    sent: int
    due: int | None
    """How many requests of its schedule were due before it ended; None in a closed loop."""
    ended_ns: int
    cpu_share: float
    loop_lag_p99_ms: float
    loop_lag_max_ms: float
    sessions: dict[str, int] | None = None
    """The fields of its `SessionCounts`; None where requests are not in sessions."""

    @property
    def intended(self) -> int:
        """How many requests it ought to have sent: in a closed loop, those that it did send."""
        return self.sent if self.due is None else self.due


@dataclass(frozen=True)
class LoadFacts:
    """The facts of a load run that are not in its records."""

    loop: str
    shards: int
    start_ns: int
    span_s: float
    """The length of the schedule, or the time until it was stopped."""
    results: tuple[ShardResult, ...]
    """Of the shards that reported back."""
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Summary:
    """Counted from the records; `valid` False means that a verdict on them is INCONCLUSIVE, for `reasons`."""

    loop: str
    """"open" or "closed"."""
    intended: int
    sent: int
    recorded: int
    errors: int
    intended_rps: float
    achieved_rps: float
    duration_s: float
    send_lag_p99_ms: float
    send_lag_max_ms: float
    cpu_share: float
    """Of a core: the busiest generator process."""
    loop_lag_p99_ms: float
    valid: bool
    reasons: tuple[str, ...]
    errors_by_type: dict[str, int]
    sessions: SessionCounts | None = None
    """None where requests are not in sessions."""


def parts(folder: Path, prefix: str) -> list[Path]:
    """Return the record files of one load run, in order."""
    return sorted(folder.glob(f"{prefix}-*.parquet"))


def summarise(files: Sequence[Path], facts: LoadFacts, thresholds: Thresholds = THRESHOLDS) -> Summary:
    """Return the summary of one load run; NaN where there are no records to count."""
    tally = count(files)
    lags_us, recorded = tally.send_lag_us, tally.recorded
    sent = sum(result.sent for result in facts.results) if facts.results else recorded
    due = sum(result.intended for result in facts.results) if facts.results else recorded
    last_s = (tally.last_sent_ns - facts.start_ns) / 1e9 if recorded else 0.0
    figures: dict[str, Any] = {
        "intended": due,
        "sent": sent,
        "recorded": recorded,
        "errors": sum(tally.errors_by_type.values()),
        "intended_rps": due / facts.span_s if facts.span_s else float("nan"),
        "achieved_rps": sent / max(facts.span_s, last_s) if facts.span_s else float("nan"),
        "duration_s": round(max(facts.span_s, last_s), 6),
        "send_lag_p99_ms": inverted_cdf(lags_us, ["p99"])["p99"] / 1e3,
        "send_lag_max_ms": float(lags_us.max()) / 1e3 if recorded else float("nan"),
        "cpu_share": max((result.cpu_share for result in facts.results), default=float("nan")),
        "loop_lag_p99_ms": max((result.loop_lag_p99_ms for result in facts.results), default=float("nan")),
    }
    reasons = tuple(_invalid_reasons(figures, facts, tally, thresholds))
    return Summary(
        loop=facts.loop,
        valid=not reasons,
        reasons=reasons,
        errors_by_type=tally.errors_by_type,
        sessions=_sessions(facts.results),
        **figures,
    )


def _sessions(results: Sequence[ShardResult]) -> SessionCounts | None:
    counts = [SessionCounts(**result.sessions) for result in results if result.sessions is not None]
    return sum(counts, SessionCounts()) if counts else None


def _invalid_reasons(figures: dict[str, Any], facts: LoadFacts, tally: Tally, thresholds: Thresholds) -> list[str]:
    """Return why the load run is not valid, each reason with the fact and the limit."""
    reasons = list(facts.failures)
    if len(facts.results) < facts.shards:
        reasons.append(f"{facts.shards - len(facts.results)} of {facts.shards} generator processes did not report back")
    if not figures["recorded"]:
        return [*reasons, "no records"]
    if figures["recorded"] < figures["sent"]:
        reasons.append(f"{figures['sent'] - figures['recorded']} of {figures['sent']} requests sent have no record")
    generator = Generator(
        intended_rps=figures["intended_rps"],
        achieved_rps=figures["achieved_rps"],
        send_lag_p99_ms=figures["send_lag_p99_ms"],
        service_p50_ms=inverted_cdf(tally.service_us[~tally.failed], ["p50"])["p50"] / 1e3,
        loop_lag_p99_ms=figures["loop_lag_p99_ms"],
        cpu_share=figures["cpu_share"] if facts.loop == "open" else None,
    )
    return reasons + generator.invalid_reasons(thresholds)
