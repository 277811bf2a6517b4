"""`summary.json`: whether a load run is valid, its times with their intervals, and its tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tailrace import analysis, percentiles
from tailrace.analysis import gaps as token_gaps
from tailrace.analysis import labels
from tailrace.analysis.overview import COLUMNS as MEASURED
from tailrace.analysis.overview import Overview, overview
from tailrace.load import Summary

STARTS: Final = ("intended", "sent")
OF_TOKENS: Final = ("ttft", "tpot", "itl")
COLUMNS: Final = (*MEASURED, "model", "colour", "cached_tok", "prefix_tok")
"""The columns that the tables need: a third of a record, which counts where there are millions."""
_COLUMNS: Final = (("outcome", ""), ("model", "model "), ("colour", ""))
"""The columns whose values are groups, with what stands before them."""
_COUNTED: Final = ("n", "uncounted", "in_tok", "out_tok", "reasoning_tok", "planned_in_tok", "planned_out_tok")
_FIGURES: Final = (
    *(percentiles.column(name, kind) for name in percentiles.PERCENTILES for kind in ("", "lo", "hi")),
    "max_ms",
)


def document(summary: Summary, parts: Sequence[Path], limits_ms: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return the content of `summary.json`: the summary, and a group for all, each outcome, model and kind.

    `n` counts successes, and percentiles are of successes. A percentile that needs a larger n is null. A group of
    streams has objects `ttft`, `tpot` and `itl`, and each group `tokens`. With `limits_ms`, those of a good request,
    there is `goodput`. `deviations` says what deviates from the planned tokens, in words. Of the values that a column
    has, the most frequent are groups; `left_out` counts the others.
    """
    records, gaps = analysis.read(parts, COLUMNS), token_gaps.read(parts)
    whole = overview(records, gaps, limits_ms)
    groups = [
        row for name, part, of_part in _groups(records, gaps) for row in _rows(name, part, overview(part, of_part))
    ]
    return {
        **{name: _plain(value) for name, value in asdict(summary).items()},
        "groups": groups,
        "left_out": {column: n for column, _ in _COLUMNS if (n := _shown(records, column).left_out)},
        "goodput": None if whole.goodput is None else _goodput(whole.goodput),
        "deviations": whole.deviations,
    }


def _groups(records: pd.DataFrame, gaps: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame | None]]:
    """Yield all records with their gaps, then each part of a column with more than one value.

    Gaps are counted by model and colour; of another part they are None.
    """
    yield "all", records, gaps
    for column, prefix in _COLUMNS:
        values = _shown(records, column).values
        if len(values) > 1:
            for value in values:
                of_part = gaps[gaps[column] == value] if column in gaps else None
                yield f"{prefix}{value}", records[records[column] == value], of_part
    if records["stream"].nunique() > 1:
        yield "stream", records[records["stream"]], gaps
        yield "not stream", records[~records["stream"]], None


def _shown(records: pd.DataFrame, column: str) -> labels.Shown:
    return labels.shown(records.loc[~records[column].isin(["", "error"]), column])


def _rows(name: str, records: pd.DataFrame, seen: Overview) -> Iterator[dict[str, Any]]:
    """Yield the group from both starts."""
    times = seen.times.set_index(["measure", "from"])
    found = {key: times.loc[key] for key in times.index}
    tokens = _tokens(records, seen, found.get(("tpot", "sent")))
    for start in STARTS:
        row = found["latency", start]
        rows = {m: found.get((m, start), found.get((m, "sent"))) for m in OF_TOKENS}
        measured = {m: _times(row) for m, row in rows.items() if row is not None}
        yield {"group": name, "from": start, **_times(row), **measured, "tokens": tokens}


def _times(row: pd.Series) -> dict[str, Any]:
    counts = {name: int(row[name]) for name in ("n", "errors", "episodes")}
    return counts | {figure: _plain(float(row[figure])) for figure in _FIGURES}


def _tokens(records: pd.DataFrame, seen: Overview, tpot: pd.Series | None) -> dict[str, Any]:
    """Return how many tokens, how fast, how far from the plan, and how much of the prompts was sent before."""
    counted = {str(name): _plain(value) for name, value in seen.tokens.items()}
    counted |= {name: int(counted[name]) for name in _COUNTED}
    ends = {"lo": math.nan, "hi": math.nan}
    if tpot is not None:  # tokens per second of a user are one over the time per token: its interval, turned round
        ends = {"lo": 1e3 / float(tpot["p50_hi_ms"] or math.nan), "hi": 1e3 / float(tpot["p50_lo_ms"] or math.nan)}
    answered = records[records["outcome"] != "error"]
    planned = records[(records["prefix_tok"] >= 0) & (records["planned_in_tok"] > 0)]
    return {
        **counted,
        **{f"per_user_s_{end}": _plain(value) for end, value in ends.items()},
        "prefix_share": _share(planned["prefix_tok"], planned["planned_in_tok"]),
        "cached_share": _share(answered["cached_tok"], answered["in_tok"]),
    }


def _goodput(row: pd.Series) -> dict[str, Any]:
    figures = {str(name): _plain(value) for name, value in row.items()}
    return figures | {name: int(row[name]) for name in ("n", "good")}


def _share(part: pd.Series, whole: pd.Series) -> float | None:
    """Return the share; None where there is nothing to share."""
    total = int(whole.sum())
    return int(part.sum()) / total if total else None


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: NaN and ∞ are null, and a number of NumPy is one of Python."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
