"""Time to the first token, and time per token after it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace import percentiles
from tailrace.numbers import number, percent
from tailrace.records import MISS
from tailrace.report import style


def streaming(
    records: pd.DataFrame,
    *,
    by: str = "colour",
    ttft_limit_ms: float | None = None,
    token_limit_ms: float | None = None,
) -> Figure:
    """Draw the distributions of both over the streams that the provider answered, a line per value of `by`."""
    answered = (records["outcome"] == MISS) & (records["ttfc_us"] >= 0)
    streams = records[records["stream"].to_numpy(dtype=bool) & answered]
    if streams.empty:
        return style.nothing("Streaming: no requests were recorded that streamed an answer.")
    figure, axes = style.grid(1, 2, height_in=3.3, sharey=True)
    first, each = axes[0]
    facts = []
    for colour, (value, part) in zip(style.colours(streams[by], by), streams.groupby(by, sort=True), strict=True):
        ttft = part["ttfc_us"].to_numpy() / 1_000
        token = per_token_ms(part)
        label = f"{value or 'unknown'}, n = {len(part):,}"
        _line(first, ttft, colour, label)
        _line(each, token, colour, None)
        facts.append(f"{value or 'unknown'}: first token {_words(ttft)}; each further token {_words(token)}")
    for ax, label, limit in ((first, "time to first token", ttft_limit_ms), (each, "time per token", token_limit_ms)):
        style.decades(ax, "x")
        ax.set_xlim(_left(ax), None)
        ax.set_xlabel(f"{label}, ms")
        style.limit(ax, limit, vertical=True)
    first.set_ylabel("share of streams")
    first.yaxis.set_major_formatter(lambda share, _: percent(share))
    first.set_ylim(0, 1.02)
    figure.legend(loc="outside lower left", ncols=4)
    return style.described(figure, f"Streams that the provider answered. {'. '.join(facts)}.")


def per_token_ms(records: pd.DataFrame) -> np.ndarray:
    """Return the time per content chunk after the first, for the streams that have more than one."""
    several = records[records["chunks"] > 1]
    rest_us = (several["service_us"] - several["ttfc_us"]).to_numpy(dtype=np.float64)
    each: np.ndarray = np.maximum(rest_us, 1) / 1_000 / (several["chunks"].to_numpy() - 1)
    return each


def _line(ax: Axes, values: np.ndarray, colour: str, label: str | None) -> None:
    ordered = np.sort(values)
    shares = np.linspace(0, 1, min(len(ordered), 400)) if len(ordered) else np.array([])
    places = np.maximum(np.ceil(shares * len(ordered)).astype(int) - 1, 0)
    ax.plot(ordered[places], shares, color=colour, label=label)
    for name, marker in (("p50", "o"), ("p99", "s")):
        if len(ordered) >= percentiles.needs(name):
            value = percentiles.of_sorted(ordered, [name])[0]
            ax.plot(value, float(percentiles.share(name)), marker, color=colour, markersize=5)


def _left(ax: Axes) -> float:
    """Return where the axis begins: streams that arrive at once take no time per token, and would fill the figure."""
    drawn = [np.asarray(line.get_xdata(), dtype=np.float64) for line in ax.get_lines()]
    return min((max(np.quantile(x, 0.05) / 2, np.quantile(x, 0.5) / 20) for x in drawn if len(x) > 1), default=0.5)


def _words(values: np.ndarray) -> str:
    known = percentiles.inverted_cdf(values, ["p50", "p99"])
    texts = [f"{n} {number(v)} ms" if len(values) >= percentiles.needs(n) else f"{n} n/a" for n, v in known.items()]
    return ", ".join(texts)
