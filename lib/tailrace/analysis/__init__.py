"""Statistics of records, each number with its uncertainty: pure functions from DataFrame to DataFrame.

Nothing here reads a clock, draws a figure, or averages percentiles.
"""

from tailrace.analysis.capacity import knee, rates
from tailrace.analysis.compare import Comparison, compare
from tailrace.analysis.cost import bill, cost
from tailrace.analysis.frames import between, empty, read
from tailrace.analysis.gaps import itl
from tailrace.analysis.goodput import goodput
from tailrace.analysis.judgement import Judgement, judge
from tailrace.analysis.latency import latency
from tailrace.analysis.levels import levels
from tailrace.analysis.overview import Overview, overview
from tailrace.analysis.tokens import tokens
from tailrace.analysis.variants import variants
from tailrace.analysis.windows import windows
from tailrace.histogram import Histogram
from tailrace.percentiles import PERCENTILES, needs

__all__ = [
    "PERCENTILES",
    "Comparison",
    "Histogram",
    "Judgement",
    "Overview",
    "between",
    "bill",
    "compare",
    "cost",
    "empty",
    "goodput",
    "itl",
    "judge",
    "knee",
    "latency",
    "levels",
    "needs",
    "overview",
    "rates",
    "read",
    "tokens",
    "variants",
    "windows",
]
