"""What the rows of a benchmark say: which load, how many replicas, at which price, and which target is faster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from tailrace.analysis import ranks
from tailrace.bench.plan import BenchPlan
from tailrace.numbers import number, percent

SHAPE: Final = ["target", "input_tokens", "output_tokens"]
POINT: Final = [*SHAPE, "level"]
METRICS: Final = ("ttft_p50_ms", "tpot_p50_ms", "latency_p50_ms", "tokens_per_s")
SHOWN: Final = 5
"""Reasons that a sentence names."""
LEAST_PAIRS: Final = 6
"""With fewer pairs no p-value below 0.05 is possible; nothing is decided."""


def points(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a row per point of the grid: the median of each figure over its repeats, and `valid` when all were."""
    figures = rows.select_dtypes("number").columns.difference([*POINT, "repeat"])
    table = rows.groupby(POINT, sort=True).agg({**dict.fromkeys(figures, "median"), "valid": "all", "repeat": "count"})
    return table.rename(columns={"repeat": "repeats"}).reset_index()


def pareto(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `points` with `best`: no other valid point of its shape is better for each user and in all.

    A shape is a length of input and of output; all targets compete in it.
    """
    table = points(rows)
    best = []
    for one in table.to_dict("records"):
        same = table["valid"] & (table["input_tokens"] == one["input_tokens"])
        same &= table["output_tokens"] == one["output_tokens"]
        user, total = table["tokens_per_s_user"], table["tokens_per_s"]
        as_good = (user >= one["tokens_per_s_user"]) & (total >= one["tokens_per_s"])
        better = (user > one["tokens_per_s_user"]) | (total > one["tokens_per_s"])
        best.append(bool(one["valid"]) and not bool((same & as_good & better).any()))
    return table.assign(best=best)


def choose(rows: pd.DataFrame, plan: BenchPlan) -> pd.DataFrame:
    """Return a row per target and shape: the load with the highest goodput whose share of good requests suffices.

    Columns: target, input_tokens, output_tokens, level (NaN when no load suffices), goodput_rps, good_share,
    usd_per_million_tokens, replicas (for `demand_rps`; 0 when unknown), usd_per_hour (of all replicas).
    """
    table = points(rows)
    least = plan.goodput.share if plan.goodput else 0.0
    table["enough"] = table["valid"] & (table["good_share"] >= least if plan.goodput else True)
    return pd.DataFrame([_choice(plan, shape, part) for shape, part in table.groupby(SHAPE, sort=True)])


def _choice(plan: BenchPlan, shape: object, part: pd.DataFrame) -> dict[str, object]:
    served = "goodput_rps" if plan.goodput else "requests_per_s"
    chosen = dict(zip(SHAPE, shape, strict=True))  # type: ignore[call-overload]
    enough = part[part["enough"]]
    if enough.empty:
        unknown = dict.fromkeys(
            ("level", "goodput_rps", "good_share", "usd_per_million_tokens", "usd_per_hour"), math.nan
        )
        return {**chosen, **unknown, "replicas": 0}
    best = enough.loc[enough[served].idxmax()]
    replicas = math.ceil(plan.demand_rps / best[served]) if plan.demand_rps and best[served] > 0 else 0
    price = plan.targets[str(chosen["target"])].price_per_hour
    return {
        **chosen, "level": best["level"], "goodput_rps": best[served], "good_share": best["good_share"],
        "usd_per_million_tokens": best["usd_per_million_tokens"], "replicas": replicas,
        "usd_per_hour": math.nan if price is None or not replicas else price * replicas,
    }  # fmt: skip


def contrast(rows: pd.DataFrame, a: str, b: str, metrics: Sequence[str] = METRICS, alpha: float = 0.05) -> pd.DataFrame:
    """Return how target `b` differs from `a`, over all cells: a row per metric, `metrics[0]` the primary one.

    A pair is one cell in one repeat, measured in both. The Wilcoxon signed-rank test decides on the log-ratios, the
    Hodges–Lehmann estimate is the effect, and all but the primary p-value are adjusted (Holm). Columns: metric,
    primary, pairs, ratio, ratio_lo, ratio_hi, p_value, p_adjusted, verdict.
    """
    place = ["level", "input_tokens", "output_tokens", "repeat"]
    valid = rows[rows["valid"]]
    pairs = valid[valid["target"] == a].merge(valid[valid["target"] == b], on=place, suffixes=("_a", "_b"))
    table = pd.DataFrame([_ratio(pairs, metric, alpha) for metric in metrics])
    table.insert(1, "primary", np.arange(len(table)) == 0)
    adjusted = table["p_value"].to_numpy().copy()
    adjusted[1:] = ranks.holm(adjusted[1:])
    verdicts = [_verdict(p, ratio, alpha) for p, ratio in zip(adjusted, table["ratio"], strict=True)]
    return table.assign(p_adjusted=adjusted, verdict=verdicts)


def _ratio(pairs: pd.DataFrame, metric: str, alpha: float) -> dict[str, object]:
    both = pairs[[f"{metric}_a", f"{metric}_b"]].dropna()
    both = both[(both > 0).all(axis=1)]
    logs = np.log(both[f"{metric}_b"].to_numpy() / both[f"{metric}_a"].to_numpy())
    p_value = ranks.signed_rank(logs) if len(logs) >= LEAST_PAIRS else math.nan
    middle, low, high = np.exp(ranks.shift(logs, 1 - alpha))
    return {
        "metric": metric, "pairs": len(logs), "ratio": middle, "ratio_lo": low, "ratio_hi": high, "p_value": p_value,
    }  # fmt: skip


def _verdict(p: float, ratio: float, alpha: float) -> str:
    if math.isnan(p):
        return f"n/a (needs {LEAST_PAIRS} pairs)"
    return "no difference shown" if p >= alpha else "higher" if ratio > 1 else "lower"


def validity(rows: pd.DataFrame) -> tuple[bool | None, str]:
    """Return whether every cell is valid, and how many were measured, how many intervals are narrow, and why not.

    None when the load generator or the machine was at fault, which says nothing about the targets; False when a cell
    had no success.
    """
    narrow = int(rows["narrow"].sum())
    text = f"{len(rows)} measurements, {int(rows['n'].sum()):,} requests, {int(rows['errors'].sum()):,} failed"
    text += f"; {narrow} of {len(rows)} intervals are narrow enough"
    invalid = rows[~rows["valid"]]
    reasons = [
        f"{one['target']} at {one['level']:g}: {one['reasons'] or 'no request succeeded'}"
        for one in invalid.to_dict("records")
    ]
    text += "".join(f"; {reason}" for reason in reasons[:SHOWN]) + (" …" if len(reasons) > SHOWN else "")
    return True if invalid.empty else None if invalid["reasons"].ne("").all() else False, text


def meets(choice: pd.DataFrame, rows: pd.DataFrame) -> tuple[bool | None, str]:
    """Return whether every target and shape has a load that suffices, and the loads in words.

    None when one has none, and not all of its `rows` are valid: one of those may suffice.
    """
    facts = [
        f"{one['target']} ({one['input_tokens']} in, {one['output_tokens']} out) at "
        + (f"{one['level']:g}: {number(one['goodput_rps'])} requests/s" if one["level"] == one["level"] else "no load")
        for one in choice.to_dict("records")
    ]
    without = choice[choice["level"].isna()]
    open_ = rows[~rows["valid"] & rows["reasons"].ne("")].merge(without[SHAPE].drop_duplicates(), on=SHAPE)
    undecided = len(open_[SHAPE].drop_duplicates()) == len(without) > 0
    return True if without.empty else None if undecided else False, "; ".join(facts)


def as_planned(rows: pd.DataFrame, tolerance: float = 0.02) -> tuple[bool | None, str]:
    """Return whether the counted tokens of every cell deviate by at most `tolerance` from the plan, and the worst."""
    counted = rows[rows["in_tok"].notna() & rows["out_tok"].notna()]
    if counted.empty:
        return None, "no request told its tokens"
    off_in = counted["in_tok"] / counted["input_tokens"] - 1
    off_out = counted["out_tok"] / counted["output_tokens"] - 1
    worst = (float(off[off.abs().idxmax()]) for off in (off_in, off_out))
    text = " and ".join(
        f"{name} by at most {value:+.1%}" for name, value in zip(("input", "output"), worst, strict=True)
    )
    within = bool((off_in.abs() <= tolerance).all() and (off_out.abs() <= tolerance).all())
    return within, f"counted tokens deviate from the plan: {text} (limit {percent(tolerance)})"
