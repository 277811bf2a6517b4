"""Of the values that a peer invents, the most frequent get a line, and the others are counted."""

import pandas as pd

from tailrace.analysis import labels


def test_the_most_frequent_are_shown_in_sorted_order():
    """Of equally frequent ones the first by name."""
    column = pd.Series(["green"] * 5 + ["blue"] * 9 + [f"c{n:03}" for n in range(120)])
    assert labels.shown(column, 4) == (["blue", "c000", "c001", "green"], 118)


def test_few_values_are_all_shown():
    """The control: nothing is left out, and no row is dropped."""
    rows = pd.DataFrame({"colour": ["green", "blue", "", "blue"]})
    assert labels.shown(rows["colour"]) == (["", "blue", "green"], 0)
    kept, sentence = labels.limited(rows, "colour")
    assert (len(kept), sentence) == (4, "")


def test_rows_of_other_values_are_left_out_and_said():
    """A figure draws a line per value, and its description says how many it has not."""
    rows = pd.DataFrame({"colour": ["blue"] * 3 + [f"c{n}" for n in range(50)]})
    kept, sentence = labels.limited(rows, "colour")
    assert kept["colour"].nunique() == labels.MOST
    assert sentence == "The 12 most frequent values of colour are shown; 39 others are left out."
