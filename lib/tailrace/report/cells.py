"""Numbers with their uncertainty, as the text of a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tailrace.numbers import number
from tailrace.percentiles import column, needs


def cell(row: Mapping[str, Any], name: str) -> str:
    """Write a percentile of a row of `latency`: "612 [588, 655]", or "n/a (needs 368)"."""
    value, low, high = (row[column(name, kind)] for kind in ("", "lo", "hi"))
    if math.isnan(value):
        return f"n/a (needs {needs(name):,})"
    return f"{number(value)} [{number(low)}, {number(high)}]"
