"""Benchmark of a grid: which target, at which load, with how many tokens, and so how many replicas.

A `BenchPlan` is read from YAML; `measure_grid` measures its cells in random order and returns one row for each.
"""

from tailrace.bench.answers import as_planned, choose, contrast, meets, pareto, validity
from tailrace.bench.grid import measure_grid
from tailrace.bench.plan import BenchPlan, Cell, Target, load
from tailrace.bench.rows import COLUMNS

__all__ = [
    "COLUMNS",
    "BenchPlan",
    "Cell",
    "Target",
    "as_planned",
    "choose",
    "contrast",
    "load",
    "measure_grid",
    "meets",
    "pareto",
    "validity",
]
