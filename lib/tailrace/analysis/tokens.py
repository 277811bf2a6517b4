"""Tokens: how many, how fast for one user and for all, and how far from what was planned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from tailrace import measures
from tailrace.analysis import frames, groups, intervals
from tailrace.percentiles import inverted_cdf

DEVIATION: Final = 0.02
"""Beyond this share of difference between counted and planned tokens, a result says so."""
COLUMNS: Final = (*measures.COLUMNS, "in_tok", "reasoning_tok", "planned_in_tok", "planned_out_tok")


def tokens(records: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return a row per group, of the requests that succeeded: `by`, n, uncounted, in_tok, out_tok, reasoning_tok,
    per_s, per_s_lo, per_s_hi, per_user_s, planned_in_tok, in_deviation, planned_out_tok, out_deviation.

    uncounted: answers without a count of their tokens. per_s: tokens out of all users together, per second from the
    first request sent to the last answer, with the interval that follows from how unevenly they came; per_user_s: of
    the median stream, 1 / TPOT. The deviations are counted over planned tokens, minus 1, of the requests that have
    both; NaN where none has.
    """
    grouped = groups.group(records, by)
    ordered = {name: records[name].to_numpy()[grouped.order] for name in COLUMNS}
    rows = [_row(pd.DataFrame({name: values[part] for name, values in ordered.items()})) for part in grouped.slices()]
    return pd.concat([grouped.keys, pd.DataFrame(rows, columns=list(_row(records.iloc[:0])))], axis=1)


def deviating(row: pd.Series) -> list[str]:
    """Return what deviates from the plan by more than `DEVIATION`, in words: "input tokens: 1,240 counted …"."""
    found = []
    for name, word in (("in", "input"), ("out", "output")):
        deviation = float(row[f"{name}_deviation"])
        if abs(deviation) > DEVIATION:
            found.append(f"{word} tokens deviate by {deviation:+.1%} from the plan (limit {DEVIATION:.0%})")
    return found


def _row(records: pd.DataFrame) -> dict[str, float]:
    answered = records[~frames.failed(records)]
    counted = answered[(answered["in_tok"] > 0) | (answered["out_tok"] > 0)]
    row: dict[str, float] = {"n": len(answered), "uncounted": len(answered) - len(counted)}
    row |= {name: int(answered[name].sum()) for name in ("in_tok", "out_tok", "reasoning_tok")}
    row |= {**_per_s(records), "per_user_s": _per_user_s(answered)}
    for name in ("in", "out"):
        planned = counted[counted[f"planned_{name}_tok"] >= 0]
        total = int(planned[f"planned_{name}_tok"].sum())
        row[f"planned_{name}_tok"] = total
        row[f"{name}_deviation"] = int(planned[f"{name}_tok"].sum()) / total - 1 if total else math.nan
    return row


def _per_s(records: pd.DataFrame) -> dict[str, float]:
    """Return the tokens out per second, from the first request sent to the last answer, with their interval.

    NaN without requests; there is no interval with fewer answers than the smallest number of batches.
    """
    row = {"per_s": math.nan, "per_s_lo": math.nan, "per_s_hi": math.nan}
    if not len(records):
        return row
    sent_ns = records["intended_ns"].to_numpy(dtype=np.int64) + records["send_lag_us"].to_numpy(dtype=np.int64) * 1_000
    ended_ns = sent_ns + records["service_us"].to_numpy(dtype=np.int64) * 1_000
    first_ns, answered = sent_ns.min(), ~frames.failed(records)
    seconds = max(1, int(ended_ns.max() - first_ns)) / 1e9
    out_tok = np.where(answered, records["out_tok"].to_numpy(dtype=np.int64), 0)
    row["per_s"] = int(out_tok.sum()) / seconds
    if int(answered.sum()) >= intervals.BATCHES // 4:
        batch = intervals.batched(np.append(ended_ns, first_ns))[:-1]
        amounts = np.bincount(batch, weights=out_tok, minlength=intervals.BATCHES)
        row["per_s_lo"], row["per_s_hi"] = (end / seconds for end in intervals.of_total(amounts))
    return row


def _per_user_s(answered: pd.DataFrame) -> float:
    rule = measures.TABLE["tpot"]
    known = answered[measures.holds(answered, (*rule.eligible, *rule.known))]
    tpot_ns = inverted_cdf(measures.values(known, rule, "sent"), ["p50"])["p50"]
    return 1e9 / tpot_ns if tpot_ns > 0 else math.nan
