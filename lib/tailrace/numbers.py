"""How a number is written for people."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """Return `value` with three significant digits, or all those before the point: 0.713, 61.2, 1,234."""
    if not math.isfinite(value):
        return "n/a" if math.isnan(value) else "∞"
    digits = 0 if abs(value) >= 100 or value == 0 else 2 - math.floor(math.log10(abs(value)))
    text = f"{value:,.{min(digits, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(ratio: float) -> str:
    """Return `ratio` as percent with as many digits as it needs, at most three significant ones."""
    return f"{number(ratio * 100)} %" if math.isfinite(ratio) else number(ratio)
