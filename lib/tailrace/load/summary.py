"""A load in numbers, counted from its records, and whether they may be believed.

Besides a generator that did not keep its schedule (`tailrace.validity`), a load is invalid when a shard or records
are missing, because something is unknown then, and when there are no records: no data is never a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailrace.load.tally import Tally, count
from tailrace.percentiles import inverted_cdf
from tailrace.validity import THRESHOLDS, Generator, Thresholds


@dataclass(frozen=True)
class Landed:
    """What one worker said at its end."""

    shard: int
    sent: int
    due: int | None
    """Of its schedule, what was wanted before it ended; None in a closed loop."""
    ended_ns: int
    cpu_share: float
    loop_lag_p99_ms: float
    loop_lag_max_ms: float


@dataclass(frozen=True)
class Flown:
    """The facts of a flight that its records cannot tell."""

    loop: str
    shards: int
    start_ns: int
    span_s: float
    """How long the schedule was, or until it was stopped."""
    landed: tuple[Landed, ...]
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


def parts(folder: Path, prefix: str) -> list[Path]:
    """The record files of one flight, in order."""
    return sorted(folder.glob(f"{prefix}-*.parquet"))


def summarise(files: Sequence[Path], flown: Flown, thresholds: Thresholds = THRESHOLDS) -> Summary:
    """Return one load's records counted; NaN for what no record can tell."""
    tally = count(files)
    lags_us, recorded = tally.send_lag_us, tally.recorded
    sent = sum(landed.sent for landed in flown.landed) if flown.landed else recorded
    due = (
        sum(landed.sent if landed.due is None else landed.due for landed in flown.landed) if flown.landed else recorded
    )
    last_s = (tally.last_sent_ns - flown.start_ns) / 1e9 if recorded else 0.0
    figures: dict[str, Any] = {
        "intended": due,
        "sent": sent,
        "recorded": recorded,
        "errors": sum(tally.errors_by_type.values()),
        "intended_rps": due / flown.span_s if flown.span_s else float("nan"),
        "achieved_rps": sent / max(flown.span_s, last_s) if flown.span_s else float("nan"),
        "duration_s": round(max(flown.span_s, last_s), 6),
        "send_lag_p99_ms": inverted_cdf(lags_us, ["p99"])["p99"] / 1e3,
        "send_lag_max_ms": float(lags_us.max()) / 1e3 if recorded else float("nan"),
        "cpu_share": max((landed.cpu_share for landed in flown.landed), default=float("nan")),
        "loop_lag_p99_ms": max((landed.loop_lag_p99_ms for landed in flown.landed), default=float("nan")),
    }
    reasons = tuple(_invalid_reasons(figures, flown, tally, thresholds))
    return Summary(loop=flown.loop, valid=not reasons, reasons=reasons, errors_by_type=tally.errors_by_type, **figures)


def _invalid_reasons(figures: dict[str, Any], flown: Flown, tally: Tally, thresholds: Thresholds) -> list[str]:
    """Return why the load's numbers must not decide anything, each with the fact and the limit."""
    reasons = list(flown.failures)
    if len(flown.landed) < flown.shards:
        reasons.append(f"{flown.shards - len(flown.landed)} of {flown.shards} generator processes did not report back")
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
        cpu_share=figures["cpu_share"] if flown.loop == "open" else None,
    )
    return reasons + generator.invalid_reasons(thresholds)
