"""Tokens and cost: the tokens to and from the provider, and their price."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tailrace.analysis.cost import cost
from tailrace.numbers import number
from tailrace.report import style


def spend(records: pd.DataFrame, *, by: str = "phase", order: Sequence[str] = ()) -> Figure:
    """Draw, per value of `by`, tokens in and out per request, and the cost of 1,000 requests."""
    if records.empty:
        return style.nothing("Tokens and cost: no requests were recorded.")
    table = cost(records, by=(by,)).set_index(by)
    table = table.loc[[name for name in order if name in table.index] or list(table.index)]
    figure, axes = style.grid(1, 2, height_in=1.2 + 0.42 * len(table), sharey=True)
    tokens, money = axes[0]
    at = np.arange(len(table))
    into, out = ((table[name] / table["requests"]).to_numpy() for name in ("tokens_in", "tokens_out"))
    tokens.barh(at, into, height=0.5, color=style.SLATE, alpha=0.6, linewidth=0, label="tokens in")
    tokens.barh(at, out, left=into, height=0.5, color=style.ORANGE, alpha=0.75, linewidth=0, label="tokens out")
    tokens.set_xlabel("tokens per request")
    _money(money, table)
    tokens.set_yticks(at, [str(name) for name in table.index], color=style.INK)
    tokens.set_ylim(len(table) - 0.5, -0.5)
    for ax in (tokens, money):
        ax.grid(visible=False, axis="y")
    figure.legend(loc="outside lower left", ncols=2)
    facts = [
        f"{name}: {number(i)} tokens in and {number(o)} out per request, {number(usd)} USD per 1,000 requests"
        for name, i, o, usd in zip(table.index, into, out, table["usd_per_1000"], strict=True)
    ]
    return style.described(figure, f"Tokens and cost. {'. '.join(facts)}.")


def _money(ax: Axes, table: pd.DataFrame) -> None:
    usd = table["usd_per_1000"].fillna(0).to_numpy()
    ax.barh(np.arange(len(table)), usd, height=0.5, color=style.PURPLE, alpha=0.6, linewidth=0)
    for i, value in enumerate(table["usd_per_1000"]):
        text = number(value) if value == value else "n/a (price not known)"
        ax.annotate(text, (usd[i], i), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
    ax.set_xlim(0, (usd.max() or 1) * 1.2)
    ax.set_xlabel("USD per 1,000 requests")
