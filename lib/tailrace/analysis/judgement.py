"""Records judged by the limits of a service: for each limit a verdict, with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from tailrace import measures, percentiles
from tailrace.analysis import frames, intervals
from tailrace.analysis.gaps import empty as no_gaps
from tailrace.analysis.gaps import itl
from tailrace.analysis.goodput import goodput
from tailrace.analysis.latency import latency
from tailrace.numbers import number, percent
from tailrace.objectives import GOODPUT, Goodput, Objectives
from tailrace.verdict import FAIL, INCONCLUSIVE, PASS, Verdict, decide, ok_of

TITLES: Final = {**{name: measure.title for name, measure in measures.TABLE.items()}, "itl": "ITL"}
"""What a measure is called in front of its percentile."""
_WORDS: Final = {PASS: "is within", FAIL: "is beyond", INCONCLUSIVE: "may be on either side of"}


@dataclass(frozen=True)
class Judgement:
    """The verdict on one limit, and its reason. `ok` is None when the records do not decide."""

    name: str
    verdict: Verdict
    text: str
    measure: str = ""
    """Whose percentile was judged, or "goodput"; "" for the share of failures."""

    @property
    def ok(self) -> bool | None:
        return ok_of(self.verdict)


def judge(
    records: pd.DataFrame,
    objectives: Objectives,
    *,
    start: frames.Start = "intended",
    invalid: Sequence[str] = (),
    gaps: pd.DataFrame | None = None,
) -> list[Judgement]:
    """Return a judgement per limit of `objectives`.

    A percentile passes when its whole interval is within the limit and fails when the whole is beyond; so does the
    share of good requests. Limits of TTFT, TPOT and ITL are INCONCLUSIVE without streams. `gaps` are those between the
    tokens of these records (`analysis.gaps.read`). `invalid` lists the reasons why the measurement is not valid (a
    missing shard, a late generator): then all are INCONCLUSIVE.
    """
    tail, judgements = _lag(records), []
    for measure, limits in objectives.limits_ms.items():
        table = _table(measure, records, gaps, start, sorted(limits, key=percentiles.share))
        missing = _missing(measure, records) if not int(table["n"]) else ""
        judgements += [_percentile(measure, name, limit, table, missing or tail) for name, limit in limits.items()]
    if objectives.error_rate is not None:
        errors = int(frames.failed(records).sum())
        judgements.append(_errors(len(records), errors, objectives.error_rate))
    if objectives.goodput is not None:
        judgements.append(_good(records, objectives.goodput, start))
    if not invalid:
        return judgements
    why = "the measurement is invalid: " + "; ".join(invalid)
    return [Judgement(j.name, INCONCLUSIVE, f"{why} ({j.text})") for j in judgements]


def _table(
    measure: str, records: pd.DataFrame, gaps: pd.DataFrame | None, start: frames.Start, names: Sequence[str]
) -> pd.Series:
    if measure == "itl":
        return itl(gaps if gaps is not None else no_gaps(), by=(), percentiles=names).iloc[0]
    return latency(records, by=(), start=start, percentiles=names, measure=measure).iloc[0]


def _missing(measure: str, records: pd.DataFrame) -> str:
    """Return why no record has the measure; "" where that needs no word, because there are no requests at all."""
    streams = records[records["stream"].to_numpy(dtype=bool)] if measure != "latency" else records
    if measure == "latency" or not len(records):
        return ""
    if not len(streams):
        return "; no streams: no request asked for one"
    if frames.failed(streams).all():
        return f"; all {len(streams):,} streams failed"
    without = {"tpot": "whose tokens were counted", "itl": "with gaps between tokens"}.get(measure, "with a token")
    return f"; none of {len(streams):,} streams {without}"


def _percentile(measure: str, percentile: str, limit_ms: float, row: pd.Series, tail: str) -> Judgement:
    n, needed = int(row["n"]), percentiles.needs(percentile)
    name = f"{TITLES[measure]} {percentile}".strip()
    title = f"{name} within {number(limit_ms)} ms"
    if n < needed:
        return Judgement(title, INCONCLUSIVE, f"{name} n/a (needs {needed:,}); n = {n:,}{'' if n else tail}")
    value, low, high = (float(row[percentiles.column(percentile, kind)]) for kind in ("", "lo", "hi"))
    verdict = decide(low, high, limit_ms)
    episodes = int(row["episodes"])
    few = episodes < intervals.LEAST_EPISODES and percentiles.share(percentile) >= percentiles.share("p95")
    note = f"; only {episodes} slow episode{'s' * (episodes != 1)}, the interval is unreliable" if few else ""
    interval = f"{number(value)} ms [{number(low)}, {number(high)}]"
    text = f"{name} {interval} {_WORDS[verdict]} {number(limit_ms)} ms; n = {n:,}"
    return Judgement(title, verdict, text + tail + note, measure)


def _good(records: pd.DataFrame, objective: Goodput, start: frames.Start) -> Judgement:
    """Judge the share of good requests by its interval; a share of 1 is counted, like failures."""
    limits = " and ".join(f"{(TITLES[m] or m)} {number(v)} ms" for m, v in objective.limits_ms.items())
    title = f"{percent(objective.share)} of requests within {limits}"
    row = goodput(records, objective.limits_ms, start=start).iloc[0]
    n, good = int(row["n"]), int(row["good"])
    if not n:
        return Judgement(title, INCONCLUSIVE, f"goodput n/a; n = 0{'; no streams' if len(records) else ''}")
    share, low, high = (float(row[name]) for name in ("share", "share_lo", "share_hi"))
    verdict = decide(1 - high, 1 - low, 1 - objective.share)
    if objective.share == 1:
        verdict = PASS if good == n else FAIL
    text = f"{good:,} of {n:,} were good, {percent(share)} [{percent(low)}, {percent(high)}] within {limits}"
    uncounted = _uncounted(records, objective)
    words = {PASS: "at least", FAIL: "less than", INCONCLUSIVE: "perhaps less than"}[verdict]
    return Judgement(title, verdict, f"{text}: {words} {percent(objective.share)}{uncounted}", GOODPUT)


def _uncounted(records: pd.DataFrame, objective: Goodput) -> str:
    """Return how many streams cannot keep a limit of TPOT, because their tokens were not counted."""
    if objective.tpot_ms is None:
        return ""
    n = int((measures.holds(records, ("stream", "out_tok == 0")) & ~frames.failed(records)).sum())
    return f"; {n:,} streams without a count of tokens are not good" if n else ""


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
