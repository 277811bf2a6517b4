"""A load in numbers: every measure that it has, its tokens and its goodput, for a summary or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from tailrace import measures
from tailrace.analysis.gaps import itl
from tailrace.analysis.goodput import goodput
from tailrace.analysis.latency import latency
from tailrace.analysis.tokens import COLUMNS as TOKEN_COLUMNS
from tailrace.analysis.tokens import deviating, tokens
from tailrace.objectives import PER_REQUEST
from tailrace.percentiles import PERCENTILES

COLUMNS: Final = TOKEN_COLUMNS
"""The columns of records that are needed."""


@dataclass(frozen=True)
class Overview:
    """The numbers of some records."""

    times: pd.DataFrame
    """A row per measure and start that there are values of: measure, from, and the columns of `latency`."""
    tokens: pd.Series
    """The columns of `tokens`."""
    goodput: pd.Series | None
    """The columns of `goodput`; None without limits."""
    deviations: list[str]
    """What deviates from the planned tokens by more than 2 %, in words."""


def overview(
    records: pd.DataFrame,
    gaps: pd.DataFrame | None = None,
    limits_ms: Mapping[str, float] | None = None,
    percentiles: Sequence[str] = PERCENTILES,
) -> Overview:
    """Return the numbers of `records`, and of the `gaps` between their tokens (`analysis.gaps.read`).

    `limits_ms` are those of a good request (`Objectives.good_ms`). Latency is always there, from both starts; the
    measures of tokens are where there are streams.
    """
    counted = tokens(records).iloc[0]
    good = goodput(records, limits_ms).iloc[0] if limits_ms else None
    return Overview(_times(records, gaps, percentiles), counted, good, deviating(counted))


def _times(records: pd.DataFrame, gaps: pd.DataFrame | None, percentiles: Sequence[str]) -> pd.DataFrame:
    rows = []
    for name in PER_REQUEST:
        rule = measures.TABLE[name]
        starts: tuple[measures.Start, ...] = ("intended", "sent") if rule.lagging else ("sent",)
        for start in starts:
            table = latency(records, by=(), start=start, percentiles=percentiles, measure=name)
            if name == "latency" or table["n"].iloc[0] or table["errors"].iloc[0]:
                rows.append(table.assign(measure=name, **{"from": start}))
    pooled = itl(gaps, by=(), percentiles=percentiles) if gaps is not None else None
    if pooled is not None and pooled["n"].iloc[0]:
        rows.append(pooled.assign(measure="itl", errors=0, **{"from": "sent"}))
    table = pd.concat(rows, ignore_index=True)
    return table[["measure", "from", *(name for name in table.columns if name not in ("measure", "from"))]]
