"""A flight in numbers, counted from its records, and whether they may be believed.

A flight is invalid when the generator itself would be part of the result:

    achieved / intended below 0.99           it did not keep up
    p99 of the send lag above 10 ms          it was late
    p99 of its event-loop lag above 20 ms    it read answers late
        (or, where the service is slow, above 5 % of its own p99: so much error does not change a verdict)
    CPU above 0.95 of a core                 it was saturated; in an open loop only (a closed one may be)
    a shard missing, records missing         something is unknown
    no records                               no data is never a pass
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tailrace.load.tally import count


@dataclass(frozen=True)
class Thresholds:
    """Beyond these the generator is part of the result."""

    achieved: float = 0.99
    send_lag_p99_ms: float = 10.0
    loop_lag_p99_ms: float = 20.0
    of_service_p99: float = 0.05
    cpu_share: float = 0.95


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


def summarise(files: Sequence[Path], flown: Flown, thresholds: Thresholds | None = None) -> Summary:
    """Count one flight's records; NaN for what no record can tell."""
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
        "send_lag_p99_ms": float(np.quantile(lags_us, 0.99, method="inverted_cdf")) / 1e3 if recorded else float("nan"),
        "send_lag_max_ms": float(lags_us.max()) / 1e3 if recorded else float("nan"),
        "cpu_share": max((landed.cpu_share for landed in flown.landed), default=float("nan")),
        "loop_lag_p99_ms": max((landed.loop_lag_p99_ms for landed in flown.landed), default=float("nan")),
    }
    service_p99_ms = float(np.quantile(tally.service_us, 0.99)) / 1e3 if recorded else 0.0
    reasons = tuple(_reasons(figures, flown, service_p99_ms, thresholds or Thresholds()))
    return Summary(loop=flown.loop, valid=not reasons, reasons=reasons, errors_by_type=tally.errors_by_type, **figures)


def _reasons(figures: dict[str, Any], flown: Flown, service_p99_ms: float, limits: Thresholds) -> list[str]:
    """What makes the flight's numbers doubtful, each with the fact and the limit."""
    reasons = list(flown.failures)
    if len(flown.landed) < flown.shards:
        reasons.append(f"{flown.shards - len(flown.landed)} of {flown.shards} generator processes did not report back")
    if not figures["recorded"]:
        return [*reasons, "no records"]
    if figures["recorded"] < figures["sent"]:
        reasons.append(f"{figures['sent'] - figures['recorded']} of {figures['sent']} requests sent have no record")
    share = figures["achieved_rps"] / figures["intended_rps"] if figures["intended_rps"] else 1.0
    if share < limits.achieved:
        reasons.append(
            f"the generator achieved {figures['achieved_rps']:.1f} of {figures['intended_rps']:.1f} requests/s"
            f" ({share:.1%}; limit {limits.achieved:.0%}): use more shards or a lower rate"
        )
    for key, least, what in (
        ("send_lag_p99_ms", limits.send_lag_p99_ms, "the generator's send lag"),
        ("loop_lag_p99_ms", limits.loop_lag_p99_ms, "the generator's event-loop lag"),
    ):
        limit = max(least, limits.of_service_p99 * service_p99_ms)
        if figures[key] > limit:
            reasons.append(f"{what} has p99 {figures[key]:.1f} ms (limit {limit:g} ms)")
    if flown.loop == "open" and figures["cpu_share"] > limits.cpu_share:
        reasons.append(f"a generator process used {figures['cpu_share']:.0%} of a core (limit {limits.cpu_share:.0%})")
    return reasons
