"""The times of tokens: to the first, per token after it, and between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import histogram, measures, percentiles
from tailrace.analysis import frames, labels
from tailrace.numbers import number, percent
from tailrace.report import style

PANELS: Final[Mapping[str, str]] = {
    "ttft": "time to first token (TTFT)",
    "tpot": "time per output token (TPOT)",
    "itl": "gap between tokens (ITL)",
}
POINTS: Final = 400


def streaming(
    records: pd.DataFrame,
    gaps: pd.DataFrame | None = None,
    *,
    by: str = "colour",
    limits_ms: Mapping[str, float] | None = None,
) -> Figure:
    """Draw the distributions over the streams that succeeded, a line per value of `by`.

    `limits_ms` maps measures ("ttft", "tpot", "itl") to limits. TTFT counts from the intended start; where a model
    reasons first, a dotted line is the time to the first token of its answer.
    """
    streams = records[records["stream"].to_numpy(dtype=bool) & ~frames.failed(records) & (records["ttfc_us"] >= 0)]
    if streams.empty:
        return style.nothing("Streaming: no requests were recorded that streamed an answer.")
    streams, left_out = labels.limited(streams, by)
    figure, axes = style.grid(1, len(PANELS), height_in=3.3, sharey=True)
    facts = []
    for colour, (value, part) in zip(style.colours(streams[by], by), streams.groupby(by, sort=True), strict=True):
        name = str(value) or "unknown"
        drawn = {measure: _values(part, measure) for measure in ("ttft", "tpot")} | {
            "itl": _pooled(gaps, by, str(value))
        }
        for ax, measure in zip(axes[0], PANELS, strict=True):
            _line(ax, drawn[measure], colour, f"{name}, n = {len(part):,}" if measure == "ttft" else None)
        _reasoned(axes[0, 0], part, colour)
        words = [f"{measure.upper()} {_words(drawn[measure])}" for measure in PANELS]
        facts.append(f"{name}, {len(part):,} streams: {'; '.join(words)}")
    for ax, (measure, label) in zip(axes[0], PANELS.items(), strict=True):
        _finish(ax, label, (limits_ms or {}).get(measure))
    axes[0, 0].set_ylabel("share of streams, or of gaps")
    axes[0, 0].yaxis.set_major_formatter(lambda share, _: percent(share))
    axes[0, 0].set_ylim(0, 1.02)
    figure.legend(loc="outside lower left", ncols=4)
    return style.described(figure, f"Times of tokens of streams that succeeded. {'. '.join(facts)}. {left_out}")


Weighted = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]
"""Ascending values in ms, and how often each occurs."""


def _values(records: pd.DataFrame, measure: str) -> Weighted:
    rule = measures.named(measure)
    known = measures.holds(records, rule.known)
    values = np.sort(measures.values(records, rule, "intended", known)) / rule.per_ms
    return values, np.ones(len(values), dtype=np.int64)


def _pooled(gaps: pd.DataFrame | None, by: str, value: str) -> Weighted:
    """Return the gaps of one line; none where they are not kept apart by the column `by`."""
    if gaps is None or by not in gaps.columns:
        return np.empty(0), np.empty(0, np.int64)
    counts = gaps[gaps[by].astype("str") == value].groupby("bucket", sort=True)["count"].sum()
    middles = np.array([histogram.middle(int(place)) / 1_000 for place in counts.index])
    return middles, counts.to_numpy(dtype=np.int64)


def _line(ax: Axes, drawn: Weighted, colour: str, label: str | None) -> None:
    values, cumulative = drawn[0], np.cumsum(drawn[1])
    if not len(values):
        return
    ranks = np.unique(np.ceil(np.linspace(0, 1, POINTS) * cumulative[-1]).clip(1).astype(np.int64))
    ax.plot(values[np.searchsorted(cumulative, ranks)], ranks / cumulative[-1], color=colour, label=label)
    for name, marker in (("p50", "o"), ("p99", "s")):
        if cumulative[-1] >= percentiles.needs(name):
            at = values[np.searchsorted(cumulative, percentiles.rank(int(cumulative[-1]), name))]
            ax.plot(at, float(percentiles.share(name)), marker, color=colour, markersize=5)


def _reasoned(ax: Axes, records: pd.DataFrame, colour: str) -> None:
    """Draw when the answer began, where that is later than the first token: a model that reasons."""
    later = records[records["ttfa_us"] > records["ttfc_us"]]
    if len(later):
        values = np.sort((later["ttfa_us"] + later["send_lag_us"]).to_numpy()) / 1_000
        label = f"first token of the answer, n = {len(later):,}"
        ax.plot(values, np.arange(1, len(values) + 1) / len(values), color=colour, linestyle=":", label=label)


def _finish(ax: Axes, label: str, limit_ms: float | None) -> None:
    ax.set_xlabel(f"{label}, ms")
    if not ax.get_lines():
        ax.set_xticks([])
        ax.text(0.5, 0.5, "not recorded", ha="center", va="center", color=style.MUTED, transform=ax.transAxes)
        return
    style.decades(ax, "x")
    right = max((float(np.max(line.get_xdata())) for line in ax.get_lines()), default=1.0)
    ax.set_xlim(_left(ax), max(right * 1.5, (limit_ms or 0.0) * 8))  # the limit is in the figure, with its label
    style.limit(ax, limit_ms, vertical=True)


def _left(ax: Axes) -> float:
    """Return where the axis begins: tokens that arrive at once take no time, and would fill the figure."""
    drawn = [np.asarray(line.get_xdata(), dtype=np.float64) for line in ax.get_lines()]
    starts = (max(np.quantile(x, 0.05) / 2, np.quantile(x, 0.5) / 20) for x in drawn if len(x) > 1)
    return min((start for start in starts if start > 0), default=0.01)


def _words(drawn: Weighted) -> str:
    values, cumulative = drawn[0], np.cumsum(drawn[1])
    n = int(cumulative[-1]) if len(cumulative) else 0
    texts = []
    for name in ("p50", "p99"):
        enough = n >= percentiles.needs(name)
        at = values[np.searchsorted(cumulative, percentiles.rank(n, name))] if enough else np.nan
        texts.append(f"{name} {number(float(at))} ms" if enough else f"{name} n/a")
    return ", ".join(texts)
