"""Numbers that admit their error: pure functions from DataFrame to DataFrame.

Nothing here reads a clock, draws, or averages a percentile.
"""

from tailrace.analysis.cost import cost
from tailrace.analysis.frames import between, empty, read
from tailrace.analysis.latency import latency
from tailrace.analysis.quantiles import PERCENTILES, needs
from tailrace.analysis.verdict import Judgement, judge, overall
from tailrace.analysis.windows import windows

__all__ = [
    "PERCENTILES",
    "Judgement",
    "between",
    "cost",
    "empty",
    "judge",
    "latency",
    "needs",
    "overall",
    "read",
    "windows",
]
