"""Why did it fail? The classes of failures, who made them, when, between which states of a switch, and the causes.

    122 × 503 by the edge (no healthy upstream), all between started and ready (6.2 s, from 3.1 s on): the edge's health
    check of blue failed for 6.2 s; both cores were busy for 96 % of that time, 1.8 of 2 of them by green-3: the new
    release's start took the old one's processor. Give it less: limits.cpus is 2

A cause that was not found is not made up: then the text says so, and what was looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tailrace import measures
from tailrace.analysis import frames
from tailrace.checks import causes
from tailrace.checks.causes import Cause
from tailrace.checks.circumstances import Circumstances, Limits, Samples, listed, seconds
from tailrace.numbers import number, percent

NO_SAMPLES, NO_LIMITS = Samples(), Limits()
FLAGS = {
    "none_healthy": "no healthy upstream",
    "overflowed": "too many waiting",
    "connect_failed": "connection refused",
    "broken": "connection closed by the instance",
    "timed_out": "no answer in time",
}
"""What the edge answers with an error of its own, in the order in which it is told."""
BY_CLIENT = frozenset({"connect", "tls", "timeout", "reset", "cut_stream", "bad_body", "cancelled"})
"""Failures that have no answer with a status: the client saw them."""


@dataclass(frozen=True)
class Explanation:
    """Why some requests went wrong: `what` by class and origin, `when`, and the causes; `text` is all of it."""

    what: str
    when: str
    causes: tuple[Cause, ...]
    looked_at: str
    """What was sampled meanwhile, for a reader who is told no cause."""

    @property
    def text(self) -> str:
        if not self.causes:
            return f"{self.what}, {self.when}. The cause is not known: {self.looked_at}"
        advice = [f"{cause.advice}." for cause in self.causes if cause.advice]
        return " ".join([f"{self.what}, {self.when}: {'; '.join(cause.fact for cause in self.causes)}.", *advice])

    def document(self) -> Mapping[str, Any]:
        """Return it as JSON has it."""
        return {"text": self.text, "what": self.what, "when": self.when, "causes": [vars(c) for c in self.causes]}


def failures(records: pd.DataFrame, samples: Samples = NO_SAMPLES, limits: Limits = NO_LIMITS) -> Explanation | None:
    """Explain the failed requests among `records`; None when none failed."""
    affected = records[frames.failed(records)]
    if affected.empty:
        return None
    seen = Circumstances(records, affected, samples, limits)
    return Explanation(_origins(seen), _when(seen), tuple(causes.find(seen)), _looked_at(seen))


def slowness(
    records: pd.DataFrame, limits_ms: Mapping[str, float], samples: Samples = NO_SAMPLES, limits: Limits = NO_LIMITS
) -> Explanation | None:
    """Explain the successes that were beyond a limit of their measure, from the intended start; None without any."""
    beyond = measures.good(records, {}, "intended")
    for name, limit_ms in limits_ms.items():
        ought = measures.eligible(records, [name])
        beyond &= ought & ~measures.good(records, {name: limit_ms}, "intended")
    affected = records[beyond] if limits_ms else records[:0]
    if affected.empty:
        return None
    seen = Circumstances(records, affected, samples, limits)
    bounds = " and ".join(f"{measures.named(m).title or 'latency'} {number(v)} ms" for m, v in limits_ms.items())
    what = f"{len(affected):,} request{'s were' if len(affected) > 1 else ' was'} beyond {bounds}"
    return Explanation(what, _when(seen), tuple(causes.find(seen, SLOW)), _looked_at(seen))


SLOW = (
    causes.unhealthy_instance, causes.processors_taken, causes.throttled, causes.little_memory, causes.slow_disk,
    causes.stolen, causes.server_queue,
)  # fmt: skip
"""The rules that may say why an answer was slow."""


def _origins(seen: Circumstances) -> str:
    """Write the classes with who made them: "122 × 503 by the edge (no healthy upstream), 3 × 500 by the service"."""
    found = seen.classes()
    by_client = {kind: n for kind, n in found.items() if not kind.isdigit()}
    statuses = {kind: n for kind, n in found.items() if kind.isdigit()}
    parts = []
    for flag, words in FLAGS.items():
        kind = "504" if flag == "timed_out" else "503"
        count = min(statuses.get(kind, 0), seen.flagged(flag))
        if count:
            parts.append(f"{count:,} × {kind} by the edge ({words})")
            statuses[kind] -= count
    rest = {kind: n for kind, n in statuses.items() if n}
    if rest:
        parts.append(f"{listed(rest)} by the service" if seen.edge_known else listed(rest))
    if by_client:
        parts.append(f"{listed(by_client)} seen by the client")
    return ", ".join(parts)


def _when(seen: Circumstances) -> str:
    lasted = f"{seconds(seen.lasted_s)}, from {seconds(seen.began_s)} on"
    between = seen.between()
    every = "all " if len(seen.affected) > 1 else ""
    return f"{every}{between} ({lasted})" if between else f"within {lasted}"


def _looked_at(seen: Circumstances) -> str:
    parts = []
    if seen.machine_known:
        cores = f"{number(seen.mean('cores'))} of {seen.cores} cores busy"
        shares = seen.throttled()
        held = f"nothing throttled for more than {percent(max(shares.values()))} of it" if shares else ""
        parts += [f"the machine had {cores} on average", held]
    else:
        parts.append("the machine was not sampled")
    if seen.edge_known:
        down = ", ".join(seen.unhealthy())
        parts.append(f"the edge found {down} unhealthy" if down else "the edge found every instance healthy")
    return "; ".join(part for part in parts if part)
