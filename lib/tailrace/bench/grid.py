"""All cells of a plan, measured one after the other; a benchmark that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from tailrace.bench.measurement import measure, traffic
from tailrace.bench.plan import BenchPlan, Cell
from tailrace.bench.rows import COLUMNS, row
from tailrace.load import LoadRun, Traffic

Prepare = Callable[[str, Traffic], LoadRun]
"""Prepares a load on the target of this name."""
Report = Callable[[pd.DataFrame, int], None]
"""Called after each cell with all rows so far and the number of cells of the plan."""


def measure_grid(
    plan: BenchPlan, prepare: Prepare, report: Report, model: str, done: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Measure the cells of `plan` that `done` lacks, and return a row for each cell.

    `report` keeps the rows after each cell, so that nothing is measured twice after an interruption. `model` is sent
    where a target names none.
    """
    rows = [] if done is None else done.to_dict("records")
    measured = {_place(one) for one in rows}
    cells = plan.cells()
    for cell in cells:
        if cell not in measured:
            target = plan.targets[cell.target]
            load_run = prepare(cell.target, traffic(plan, cell, target.model or model))
            rows.append(row(plan, target, measure(cell, plan.measure, load_run)))
            report(table(rows), len(cells))
    return table(rows)


def table(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Return the rows as a frame with `COLUMNS`."""
    return pd.DataFrame(rows, columns=COLUMNS)


def _place(one: dict[str, object]) -> Cell:
    fields = (one["target"], float(one["level"]), one["input_tokens"], one["output_tokens"], one["repeat"])  # type: ignore[arg-type]
    return Cell(*fields)  # type: ignore[arg-type]
