"""A run against an earlier one: the gate of a scheduled run, `--baseline RUN`, and `tailrace compare`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tailrace.analysis import Comparison, compare
from tailrace.report import store, tables


def against(run_dir: Path, baseline_dir: Path, tolerance: float = 0.2) -> Comparison:
    """Return how the run at `run_dir` differs from the baseline, over what stands for each: the switch under load.

    Runs never ran at the same time, so this is a comparison of before and after, and says so.
    """
    return compare(store.measured(baseline_dir), store.measured(run_dir), tolerance=tolerance)


def table(compared: Comparison) -> pd.DataFrame:
    """Return the comparison with its numbers written out: metric, windows, effect with interval, p, verdict."""
    return tables.compared(compared.table, "run over baseline")
