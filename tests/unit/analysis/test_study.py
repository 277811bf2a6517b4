"""What the intervals are worth, measured."""

import pytest

from tailrace.analysis import study


@pytest.fixture(scope="module")
def bursty():
    worlds = {"bursty": study.WORLDS["bursty, short stalls"]}
    return study.coverage((2_000, 40_000), repeats=60, worlds=worlds).set_index("n")


def test_bursty_with_enough_episodes(bursty):
    """With at least 8 slow episodes the 95 % interval holds the truth in at least 88 % of bursty runs."""
    assert bursty.loc[40_000, "episodes"] >= 8
    assert bursty.loc[40_000, "covered_reliable"] >= 0.88
    assert bursty.loc[40_000, "covered"] >= 0.88


def test_textbook_does_not(bursty):
    """Negative control: without widening it holds it in fewer than half."""
    assert bursty.loc[40_000, "textbook"] < 0.5


def test_too_few_episodes_are_called_unreliable(bursty):
    """A short run on the same service does not cover, and nearly all such runs are called unreliable."""
    assert bursty.loc[2_000, "covered"] < 0.88
    assert bursty.loc[2_000, "reliable"] <= 0.15


def test_independent_and_bimodal():
    """Where the textbook is right, ours is no worse than 90 % either, and not twice as wide."""
    worlds = {name: study.WORLDS[name] for name in ("independent", "bimodal")}
    table = study.coverage((5_000,), repeats=100, worlds=worlds)
    assert (table["covered"] >= 0.9).all()
