"""The verdict: PASS, FAIL or INCONCLUSIVE, with its reason in words. No data is never PASS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd

from tailrace.analysis import frames, intervals, quantiles
from tailrace.analysis.latency import latency

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
PASS: Final = "PASS"  # noqa: S105
FAIL: Final = "FAIL"
INCONCLUSIVE: Final = "INCONCLUSIVE"


@dataclass(frozen=True)
class Judgement:
    """One limit, and what the records say to it. `ok` is None when they do not decide."""

    name: str
    verdict: Verdict
    text: str

    @property
    def ok(self) -> bool | None:
        return {PASS: True, FAIL: False}.get(self.verdict)


def judge(
    records: pd.DataFrame,
    slo: Mapping[str, float],
    error_rate: float | None = None,
    *,
    start: frames.Start = "intended",
    invalid: Sequence[str] = (),
) -> list[Judgement]:
    """Return a judgement per limit of `slo` (percentile name to ms) and one of the error rate.

    A percentile passes when its whole interval is within the limit and fails when the whole is beyond. `invalid`
    lists what is wrong with the measurement (a shard is missing, the generator lagged): nothing is decided then.
    """
    table = latency(records, by=(), start=start, percentiles=sorted(slo, key=quantiles.share))
    row = table.iloc[0]
    tail = _lag(records)
    judged = [_percentile(name, float(limit), row, tail) for name, limit in slo.items()]
    if error_rate is not None:
        judged.append(_errors(len(records), int(row["errors"]), error_rate))
    if not invalid:
        return judged
    why = "the measurement is invalid: " + "; ".join(invalid)
    return [Judgement(j.name, INCONCLUSIVE, f"{why} ({j.text})") for j in judged]


def overall(judgements: Iterable[Judgement]) -> Verdict:
    """Return FAIL when one failed, else INCONCLUSIVE when one is or there are none, else PASS."""
    verdicts = [j.verdict for j in judgements]
    if FAIL in verdicts:
        return FAIL
    return PASS if verdicts and INCONCLUSIVE not in verdicts else INCONCLUSIVE


def _percentile(name: str, limit_ms: float, row: pd.Series, tail: str) -> Judgement:
    n, needed = int(row["n"]), quantiles.needs(name)
    title = f"{name} within {number(limit_ms)} ms"
    if n < needed:
        return Judgement(title, INCONCLUSIVE, f"{name} n/a (needs {needed:,}); n = {n:,}")
    value, low, high = (float(row[quantiles.column(name, kind)]) for kind in ("", "lo", "hi"))
    verdict, words = _decide(low, high, limit_ms)
    spells = int(row["episodes"])
    few = spells < intervals.LEAST_EPISODES and quantiles.share(name) >= quantiles.share("p95")
    note = f"; only {spells} slow episode{'s' * (spells != 1)}, the interval is unreliable" if few else ""
    text = f"{name} {number(value)} ms [{number(low)}, {number(high)}] {words} {number(limit_ms)} ms; n = {n:,}"
    return Judgement(title, verdict, text + tail + note)


def _decide(low: float, high: float, limit: float) -> tuple[Verdict, str]:
    if high <= limit:
        return PASS, "is within"
    if low > limit:
        return FAIL, "is beyond"
    return INCONCLUSIVE, "may be on either side of"


def _errors(n: int, errors: int, limit: float) -> Judgement:
    """Judge the share that failed: counted, not estimated; but one failure has to be able to fit the limit."""
    title = f"error rate within {percent(limit)}"
    text = f"{errors:,} of {n:,} failed"
    if n == 0 or (errors == 0 and limit > 0 and n * limit < 1):
        needed = math.ceil(1 / limit) if limit > 0 else 1
        return Judgement(title, INCONCLUSIVE, f"{text}; {percent(limit)} cannot be told from fewer than {needed:,}")
    if errors / n <= limit:
        return Judgement(title, PASS, f"{text} ({percent(errors / n)}), within {percent(limit)}")
    return Judgement(title, FAIL, f"{text} ({percent(errors / n)}), beyond {percent(limit)}")


def _lag(records: pd.DataFrame) -> str:
    if not len(records):
        return ""
    lag_us = quantiles.exact(records["send_lag_us"].to_numpy(dtype=np.int64), ["p99"])["p99"]
    return f"; generator lag p99 {number(lag_us / 1_000)} ms"


def number(value: float) -> str:
    """Return `value` with three significant digits, or all those before the point: 0.713, 61.2, 1,234."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else "∞"
    digits = 0 if abs(value) >= 100 or value == 0 else 2 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(ratio: float) -> str:
    """Return `ratio` as percent with as many digits as it needs, at most three significant ones."""
    return f"{number(ratio * 100)} %" if math.isfinite(ratio) else number(ratio)
