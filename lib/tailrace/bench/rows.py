"""One tidy row per measurement."""

from __future__ import annotations

import math
from typing import Any, Final

import pandas as pd

from tailrace import analysis
from tailrace.analysis import frames
from tailrace.bench.measurement import Measured
from tailrace.bench.plan import BenchPlan, Target
from tailrace.percentiles import column

MEASURES: Final = ("ttft", "tpot", "latency")
SHOWN: Final = ("p50", "p99")
COLUMNS: Final = [
    "target", "load", "level", "input_tokens", "output_tokens", "repeat", "n", "errors", "window_s", "narrow", "valid",
    "reasons",
    *(f"{m}_{p}_{k}" for m in MEASURES for p in SHOWN for k in ("ms", "lo_ms", "hi_ms")),
    "tokens_per_s", "tokens_per_s_user", "requests_per_s", "goodput_rps", "good_share", "in_tok", "out_tok",
    "usd_per_million_tokens", "load_run",
]  # fmt: skip
"""`tokens_per_s` are output tokens of all requests that ended in the window; per user, 1 ÷ the median TPOT."""


def row(plan: BenchPlan, target: Target, measured: Measured) -> dict[str, Any]:
    """Return the row of one measurement: `COLUMNS`, times in milliseconds, NaN where n is too small."""
    cell, records, window_s = measured.cell, measured.records, measured.window_s
    succeeded = records[~frames.failed(records)]
    ended = _ended(records, measured)
    tokens_per_s = float(ended["out_tok"].sum()) / window_s
    times = {name: value for measure in MEASURES for name, value in _times(records, measure).items()}
    good = _good(plan, ended)
    return {
        "target": cell.target, "load": plan.load, "level": cell.level, "input_tokens": cell.input_tokens,
        "output_tokens": cell.output_tokens, "repeat": cell.repeat, "n": len(succeeded),
        "errors": len(records) - len(succeeded), "window_s": window_s, "narrow": measured.narrow,
        "valid": not measured.reasons and len(succeeded) > 0, "reasons": "; ".join(measured.reasons), **times,
        "tokens_per_s": tokens_per_s,
        "tokens_per_s_user": 1_000 / times["tpot_p50_ms"] if times["tpot_p50_ms"] > 0 else math.nan,
        "requests_per_s": len(ended) / window_s, "goodput_rps": good * len(ended) / window_s, "good_share": good,
        "in_tok": float(succeeded["in_tok"].mean()), "out_tok": float(succeeded["out_tok"].mean()),
        "usd_per_million_tokens": _usd(target, tokens_per_s), "load_run": measured.load_run,
    }  # fmt: skip


def _times(records: pd.DataFrame, measure: str) -> dict[str, float]:
    table = analysis.latency(records, by=(), percentiles=SHOWN, measure=measure).iloc[0]
    kinds = {"ms": "", "lo_ms": "lo", "hi_ms": "hi"}
    return {f"{measure}_{p}_{name}": float(table[column(p, kind)]) for p in SHOWN for name, kind in kinds.items()}


def _ended(records: pd.DataFrame, measured: Measured) -> pd.DataFrame:
    """Return the requests that ended within the window, failures included: what it really delivered."""
    ends_ns = records["intended_ns"] + (records["send_lag_us"] + records["service_us"]) * 1_000
    return records[ends_ns <= measured.end_ns]


def _good(plan: BenchPlan, ended: pd.DataFrame) -> float:
    if plan.goodput is None or ended.empty:
        return math.nan
    return float(analysis.goodput(ended, plan.goodput.limits_ms)["share"].iloc[0])


def _usd(target: Target, tokens_per_s: float) -> float:
    if target.price_per_hour is None or not tokens_per_s:
        return math.nan
    return target.price_per_hour / 3_600 / tokens_per_s * 1e6
