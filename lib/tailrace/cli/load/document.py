"""`summary.json`: whether a load run is valid, and its percentiles from both starts, counted from its records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tailrace import analysis, percentiles
from tailrace.analysis.overview import COLUMNS as MEASURED
from tailrace.load import Summary

STARTS: Final = ("intended", "sent")
COLUMNS: Final = (*MEASURED, "model", "colour")
"""The columns that the tables need: a third of a record, which counts where there are millions."""
_FIGURES: Final = (
    *(percentiles.column(name) for name in percentiles.PERCENTILES),
    percentiles.column("p99", "lo"),
    percentiles.column("p99", "hi"),
    "max_ms",
)


def document(summary: Summary, parts: Sequence[Path]) -> dict[str, Any]:
    """Return the content of `summary.json`: the summary, and a group for all, each outcome, model and kind.

    `n` counts successes, and percentiles are of successes. A percentile that needs a larger n is null.
    """
    records = analysis.read(parts, COLUMNS)
    return {
        **{name: _plain(value) for name, value in asdict(summary).items()},
        "groups": [row for name, part in _groups(records) for row in _rows(name, part)],
    }


def _groups(records: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield all records, then each part of a column with more than one value."""
    yield "all", records
    for column, prefix in (("outcome", ""), ("model", "model "), ("colour", "")):
        values = [value for value in sorted(records[column].unique()) if value not in {"", "error"}]
        if len(values) > 1:
            for value in values:
                yield f"{prefix}{value}", records[records[column] == value]
    if records["stream"].nunique() > 1:
        yield "stream", records[records["stream"]]
        yield "not stream", records[~records["stream"]]


def _rows(name: str, records: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for start in STARTS:
        table = analysis.latency(records, by=(), start=start)
        row = table.iloc[0]
        figures = {figure: _plain(float(row[figure])) for figure in _FIGURES}
        yield {"group": name, "from": start, "n": int(row["n"]), "errors": int(row["errors"]), **figures}


def _plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: NaN and ∞ are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
