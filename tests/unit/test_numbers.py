"""How numbers are written for people."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.numbers import number, percent


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.7134, "0.713"), (61.24, "61.2"), (1234.5, "1,234"), (0, "0"), (100, "100"), (5.0, "5"), (-2.5, "-2.5"),
     (math.nan, "n/a"), (math.inf, "∞"), (1e-9, "0")],
)  # fmt: skip
def test_three_significant_digits(value, text):
    """Three significant digits, or all those before the point; what is not known is n/a."""
    assert number(value) == text


@given(st.floats(1e-3, 1e12))
def test_a_written_number_is_near_the_number(value):
    """What is written is within half a percent of what was meant."""
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=0.005)


@pytest.mark.parametrize(("ratio", "text"), [(0.001, "0.1 %"), (1, "100 %"), (math.nan, "n/a"), (math.inf, "∞")])
def test_percent(ratio, text):
    """A share is written in percent, with the same digits."""
    assert percent(ratio) == text
