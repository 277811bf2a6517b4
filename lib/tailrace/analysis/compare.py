"""Whether b is slower than a, decided over paired windows of time, so that a slowdown of both has no effect.

Each window gives the log-ratio of its percentile in b to that in a. The Wilcoxon signed-rank test decides on these
differences, and the Hodges–Lehmann estimate of their middle is the effect: how many times slower b typically is.
One metric is primary, declared in advance; the others are adjusted for multiple comparisons (Holm).

Windows are paired by the clock when both arms ran at the same time. Otherwise each counts from its own first
request: such a before/after comparison is descriptive, because it includes everything else that changed in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tailrace import measures, percentiles
from tailrace.analysis import frames, ranks
from tailrace.analysis.judgement import Judgement
from tailrace.numbers import number, percent
from tailrace.verdict import FAIL, INCONCLUSIVE, PASS

METRICS: Final = ("p99", "p50", "p95", "errors")
TOKEN_METRICS: Final = ("ttft_p95", "tpot_p50")
"""What is compared as well where both arms have streams."""
WINDOWS: Final = 30
LEAST_WINDOWS: Final = 8
"""With fewer pairs no p-value below 0.01 is possible; nothing is decided."""
LEAST_STREAMS: Final = 10
"""In each arm of a window, for a metric of tokens; for a higher percentile as many as keep it off the maximum."""
LEAST_REQUESTS: Final = 100
"""In each arm of a window; with fewer, the window's p99 is its maximum."""
LEAST_SHARE: Final = 0.05
"""Of each arm in a generation of the route: a smaller share was still under way when the route changed."""


Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """`table` has a row per metric; `concurrent` is whether the arms ran at the same time."""

    table: pd.DataFrame
    concurrent: bool
    judgement: Judgement
    pairs: pd.DataFrame
    """A row per window with enough requests in both arms, as `paired` makes it."""


def compare(
    a: pd.DataFrame,
    b: pd.DataFrame,
    *,
    metrics: Sequence[str] | None = None,
    windows: int = WINDOWS,
    alpha: float = 0.05,
    tolerance: float = 0.2,
    start: frames.Start = "intended",
    concurrent: bool | None = None,
) -> Comparison:
    """Return how b differs from a: metric, primary, windows, ratio, ratio_lo, ratio_hi, p_value, p_adjusted, verdict.

    `metrics[0]` is the primary one; a metric is "p99" of the latency, "ttft_p95" of another measure, or "errors". None
    compares `METRICS`, and `TOKEN_METRICS` where both arms have streams. For "errors" the ratio columns hold the
    difference of the error shares. The judgement of the primary metric is FAIL when b is significantly slower and by
    more than `tolerance` (0.2: 20 %), PASS when the whole interval is within that, else INCONCLUSIVE. There are at most
    `windows`, and fewer where each would not hold enough requests. `concurrent` is whether the arms ran at the same
    time; None decides it by their times, which have to be of one clock.
    """
    concurrent = overlap(a, b) > 0.5 if concurrent is None else concurrent
    metrics = applicable(a, b) if metrics is None else metrics
    a, b = shared(a, b) if concurrent else (a, b)
    pairs = paired(a, b, metrics, fitting(a, b, windows), start, concurrent)
    rows = [_row(pairs, name, alpha) for name in metrics]
    table = pd.DataFrame(rows)
    table.insert(1, "primary", np.arange(len(table)) == 0)
    adjusted = table["p_value"].to_numpy().copy()
    adjusted[1:] = ranks.holm(adjusted[1:])
    table["p_adjusted"] = adjusted
    table["verdict"] = [_finding(row, alpha) for row in table.to_dict("records")]
    return Comparison(table, concurrent, _judgement(table.iloc[0], concurrent, tolerance), pairs)


def applicable(a: pd.DataFrame, b: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics that both arms have: those of tokens only where both have streams."""
    streamed = all("stream" in arm and bool(arm["stream"].any()) for arm in (a, b))
    return (*METRICS, *TOKEN_METRICS) if streamed else METRICS


def fitting(a: pd.DataFrame, b: pd.DataFrame, most: int = WINDOWS) -> int:
    """Return how many windows, at most `most`, have enough requests of both arms on average, with a fifth to spare."""
    return min(most, max(LEAST_WINDOWS, min(len(a), len(b)) * 5 // (LEAST_REQUESTS * 6)))


def overlap(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Return the share of the shorter arm's time in which the other arm ran as well."""
    if not len(a) or not len(b):
        return 0.0
    spans = _spans(a, b)
    shared = min(s[1] for s in spans) - max(s[0] for s in spans)
    return max(0.0, shared / max(1, min(s[1] - s[0] for s in spans)))


def shared(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the requests of both arms that began while both ran."""
    if not len(a) or not len(b):
        return a, b
    spans = _spans(a, b)
    first, last = max(s[0] for s in spans), min(s[1] for s in spans)
    return a[a["intended_ns"].between(first, last)], b[b["intended_ns"].between(first, last)]


def _spans(*arms: pd.DataFrame) -> list[tuple[int, int]]:
    return [(int(arm["intended_ns"].min()), int(arm["intended_ns"].max())) for arm in arms]


def beside(records: pd.DataFrame, by: str, a: str, b: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the requests of the arms `a` and `b` of the column `by` that were routed while both had a share.

    In a generation of the route that has both colours, requests went to the one or the other by chance, in the same
    seconds. Where no generation has both (or none is known), all requests of both are returned.
    """
    arms = records[records[by].isin([a, b])]
    served = arms.groupby("generation")[by].agg(lambda values: values.value_counts(normalize=True).min())
    both = arms.groupby("generation")[by].nunique() == 2
    chosen = both.index[both & (served >= LEAST_SHARE)]
    arms = arms[arms["generation"].isin(chosen)] if len(chosen) else arms
    return arms[arms[by] == a], arms[arms[by] == b]


def paired(
    a: pd.DataFrame,
    b: pd.DataFrame,
    metrics: Sequence[str] = METRICS,
    windows: int = WINDOWS,
    start: frames.Start = "intended",
    concurrent: bool = True,
) -> pd.DataFrame:
    """Return a row per window with enough requests in both arms: t_s, and each metric as p99_a_ms, p99_b_ms …"""
    if not len(a) or not len(b):
        return pd.DataFrame({"t_s": []})
    origins = [int(f["intended_ns"].min()) for f in (a, b)]
    if concurrent:  # only the time that they share
        origins = [max(origins)] * 2
    lengths = [int(f["intended_ns"].max()) - o + 1 for f, o in zip((a, b), origins, strict=True)]
    width = max(1, min(lengths) // windows)
    arms = [_windowed(f, o, width, metrics, start) for f, o in zip((a, b), origins, strict=True)]
    both = arms[0].merge(arms[1], on="window", suffixes=("_a", "_b"))
    both = both[both["window"].between(0, windows - 1)]
    both.insert(0, "t_s", both.pop("window") * width / 1e9)
    return both


def _windowed(
    records: pd.DataFrame, origin: int, width: int, metrics: Sequence[str], start: frames.Start
) -> pd.DataFrame:
    number_of = (records["intended_ns"].to_numpy(dtype=np.int64) - origin) // width
    failed = frames.failed(records)
    chosen = {measure: _figures(records, failed, measure, start) for measure in _percentiles(metrics)}
    order = np.argsort(number_of, kind="stable")
    present, first = np.unique(number_of[order], return_index=True)
    rows = []
    for window, part in zip(present.tolist(), np.split(order, first[1:]), strict=True):
        bad = failed[part]
        if len(part) - bad.sum() >= LEAST_REQUESTS:
            row = {"window": window, "errors": float(bad.mean())}
            for measure, names in _percentiles(metrics).items():
                row |= _in_window(measure, names, *chosen[measure], part)
            rows.append(row)
    return pd.DataFrame(rows, columns=["window", *dict.fromkeys([*metrics, "errors"])])


def _percentiles(metrics: Sequence[str]) -> dict[str, list[str]]:
    """Return the percentiles of each measure that `metrics` name: "ttft_p95" is p95 of "ttft", "p99" of the latency."""
    found: dict[str, list[str]] = {}
    for metric in metrics:
        measure, _, percentile = metric.rpartition("_")
        if metric != "errors":
            found.setdefault(measure or "latency", []).append(percentile)
    return found


def _figures(records: pd.DataFrame, failed: Mask, measure: str, start: frames.Start) -> tuple[Values, Mask]:
    """Return the measure of each request, and a mask of those that succeeded and have it."""
    rule = measures.named(measure)
    if not rule.known:
        return measures.values(records, rule, start), ~failed
    known = measures.holds(records, (*rule.eligible, *rule.known)) & ~failed
    values = np.zeros(len(records), dtype=np.int64)
    values[known] = measures.values(records, rule, start, known)
    return values, known


def _in_window(
    measure: str, names: Sequence[str], values: Values, known: Mask, part: npt.NDArray[np.intp]
) -> dict[str, float]:
    """Return each metric of a measure, in ms, of the requests `part`; NaN where too few of them have it."""
    rule, prefix = measures.named(measure), "" if measure == "latency" else f"{measure}_"
    chosen = values[part][known[part]]
    found = percentiles.inverted_cdf(chosen, names)
    least = {
        name: max(LEAST_STREAMS, math.ceil(1 / (1 - percentiles.share(name)))) if rule.known else 1 for name in names
    }
    return {f"{prefix}{name}": v / rule.per_ms if len(chosen) >= least[name] else math.nan for name, v in found.items()}


def _row(pairs: pd.DataFrame, metric: str, alpha: float) -> dict[str, object]:
    before, after = (pairs[f"{metric}_{arm}"].to_numpy(dtype=float) if len(pairs) else np.array([]) for arm in "ab")
    if metric != "errors":
        both = (before > 0) & (after > 0)  # a window with too few values has none
        before, after = before[both], after[both]
    n = len(before)
    differences = after - before if metric == "errors" else np.log(after / before)
    p_value = ranks.signed_rank(differences) if n >= LEAST_WINDOWS else math.nan
    effect = ranks.shift(differences, 1 - alpha)
    middle, low, high = effect if metric == "errors" else np.exp(effect)
    return {"metric": metric, "windows": n, "ratio": middle, "ratio_lo": low, "ratio_hi": high, "p_value": p_value}


def _finding(row: dict[str, object], alpha: float) -> str:
    p, ratio = float(row["p_adjusted"]), float(row["ratio"])  # type: ignore[arg-type]
    if math.isnan(p):
        return "n/a"
    if p >= alpha:
        return "no difference shown"
    if row["metric"] == "errors":
        return "more failures" if ratio > 0 else "fewer failures"
    return "slower" if ratio > 1 else "faster"


def _judgement(row: pd.Series, concurrent: bool, tolerance: float) -> Judgement:
    name = f"{row['metric']} no worse than the baseline"
    if row["windows"] < LEAST_WINDOWS:
        text = f"{row['windows']} windows with {LEAST_REQUESTS} requests in both (needs {LEAST_WINDOWS})"
        return Judgement(name, INCONCLUSIVE, text)
    interval = f"[{number(row['ratio_lo'])}, {number(row['ratio_hi'])}]"
    text = f"{row['metric']} {number(row['ratio'])}× the baseline's {interval}, p {_p(row['p_value'])}"
    text += f" over {row['windows']} paired windows: {row['verdict']}; tolerated {percent(tolerance)}"
    text += "" if concurrent else "; before/after, not at the same time: descriptive"
    allowed = tolerance if row["metric"] == "errors" else 1 + tolerance
    if row["verdict"] in ("slower", "more failures") and row["ratio"] > allowed:
        return Judgement(name, FAIL, text)
    within = row["ratio_hi"] <= allowed or row["verdict"] in ("faster", "fewer failures")
    return Judgement(name, PASS if within else INCONCLUSIVE, text)


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"
