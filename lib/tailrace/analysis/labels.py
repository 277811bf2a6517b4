"""The values of a column that are worth a line each: a peer names colours and releases, and may name any number."""

from __future__ import annotations

from typing import Final, NamedTuple

import pandas as pd

MOST: Final = 12
"""Of one column."""


class Shown(NamedTuple):
    """The most frequent values, in sorted order, and how many others are left out."""

    values: list[str]
    left_out: int


def shown(column: pd.Series, most: int = MOST) -> Shown:
    """Return the `most` values of `column` that occur most often; of equally frequent ones the first by name."""
    counts = column.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return Shown(sorted(counts.index[:most]), max(0, len(counts) - most))


def limited(rows: pd.DataFrame, by: str, most: int = MOST) -> tuple[pd.DataFrame, str]:
    """Return the rows with a value that is shown, and a sentence about those that are left out; "" for none."""
    values, left_out = shown(rows[by], most)
    if not left_out:
        return rows, ""
    kept = rows[rows[by].isin(values)]
    return kept, f"The {most} most frequent values of {by} are shown; {left_out:,} others are left out."
