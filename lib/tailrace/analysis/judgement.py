"""Records judged by the limits of a service: for each limit a verdict, with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from tailrace import percentiles
from tailrace.analysis import frames, intervals
from tailrace.analysis.latency import latency
from tailrace.numbers import number, percent
from tailrace.objectives import Objectives
from tailrace.verdict import FAIL, INCONCLUSIVE, PASS, Verdict, decide, ok_of

_WORDS: Final = {PASS: "is within", FAIL: "is beyond", INCONCLUSIVE: "may be on either side of"}


@dataclass(frozen=True)
class Judgement:
    """The verdict on one limit, and its reason. `ok` is None when the records do not decide."""

    name: str
    verdict: Verdict
    text: str

    @property
    def ok(self) -> bool | None:
        return ok_of(self.verdict)


def judge(
    records: pd.DataFrame,
    objectives: Objectives,
    *,
    start: frames.Start = "intended",
    invalid: Sequence[str] = (),
) -> list[Judgement]:
    """Return a judgement per limit of `objectives`.

    A percentile passes when its whole interval is within the limit and fails when the whole is beyond. `invalid`
    lists the reasons why the measurement is not valid (a missing shard, a late generator): then all are INCONCLUSIVE.
    """
    table = latency(records, by=(), start=start, percentiles=sorted(objectives.latency_ms, key=percentiles.share))
    row = table.iloc[0]
    tail = _lag(records)
    judgements = [_percentile(name, float(limit), row, tail) for name, limit in objectives.latency_ms.items()]
    if objectives.error_rate is not None:
        judgements.append(_errors(len(records), int(row["errors"]), objectives.error_rate))
    if not invalid:
        return judgements
    why = "the measurement is invalid: " + "; ".join(invalid)
    return [Judgement(j.name, INCONCLUSIVE, f"{why} ({j.text})") for j in judgements]


def _percentile(name: str, limit_ms: float, row: pd.Series, tail: str) -> Judgement:
    n, needed = int(row["n"]), percentiles.needs(name)
    title = f"{name} within {number(limit_ms)} ms"
    if n < needed:
        return Judgement(title, INCONCLUSIVE, f"{name} n/a (needs {needed:,}); n = {n:,}")
    value, low, high = (float(row[percentiles.column(name, kind)]) for kind in ("", "lo", "hi"))
    verdict = decide(low, high, limit_ms)
    episodes = int(row["episodes"])
    few = episodes < intervals.LEAST_EPISODES and percentiles.share(name) >= percentiles.share("p95")
    note = f"; only {episodes} slow episode{'s' * (episodes != 1)}, the interval is unreliable" if few else ""
    text = (
        f"{name} {number(value)} ms [{number(low)}, {number(high)}] {_WORDS[verdict]} {number(limit_ms)} ms; n = {n:,}"
    )
    return Judgement(title, verdict, text + tail + note)


def _errors(n: int, errors: int, limit: float) -> Judgement:
    """Judge the share of failures. It is counted, not estimated, but n must be large enough for the limit."""
    title = f"error rate within {percent(limit)}"
    text = f"{errors:,} of {n:,} failed"
    if n == 0 or (errors == 0 and limit > 0 and n * limit < 1):
        needed = math.ceil(1 / limit) if limit > 0 else 1
        return Judgement(title, INCONCLUSIVE, f"{text}; {percent(limit)} cannot be judged with fewer than {needed:,}")
    if errors / n <= limit:
        return Judgement(title, PASS, f"{text} ({percent(errors / n)}), within {percent(limit)}")
    return Judgement(title, FAIL, f"{text} ({percent(errors / n)}), beyond {percent(limit)}")


def _lag(records: pd.DataFrame) -> str:
    if not len(records):
        return ""
    lag_us = percentiles.inverted_cdf(records["send_lag_us"].to_numpy(dtype=np.int64), ["p99"])["p99"]
    return f"; generator lag p99 {number(lag_us / 1_000)} ms"
