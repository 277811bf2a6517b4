"""The marks, windows and points that figures over time share."""

import numpy as np
import pandas as pd

from tailrace.report.figures import time


def marks(*rows):
    return pd.DataFrame(rows, columns=["t_s", "label", "kind"])


def test_states_too_close_share_a_label():
    """Of states too close to label, only the decisive one is named; faults keep their own labels."""
    close = marks((5.0, "warm", "state"), (5.01, "smoked", "state"), (5.02, "switched", "state"), (5.03, "x", "fault"))
    assert time.named(close, 10.0) == [(5.0, "switched", "state"), (5.03, "x", "fault")]
    assert time.named(marks((1, "started", "state"), (1.01, "ready", "state")), 10.0)[0][1] == "started · ready"


def test_states_apart_keep_their_names():
    """States far enough apart are all named."""
    assert len(time.named(marks((1, "a", "state"), (2, "b", "state"), (3, "c", "state")), 10.0)) == 3


def test_words_hold_only_what_is_drawn():
    """The alternative text omits marks outside the drawn time."""
    rows = pd.DataFrame({"t_ns": [-5, 10**9, 10**11], "label": ["early", "now", "late"], "kind": "state"})
    assert time.in_words(rows, 0, 10.0) == " Marks: now at 1 s."
    assert time.in_words(None, 0, 1.0) == time.in_words(rows[:0], 0, 1.0) == ""


def test_a_point_per_pixel():
    """Of a million points, one per pixel is drawn; a few points are all drawn."""
    rng = np.random.default_rng(1)
    x, y = rng.random(1_000_000), rng.random(1_000_000)
    kept = time.pixels(x, y, 100, 50)
    assert 4_800 <= len(kept) <= 5_000
    assert len(time.pixels(x[:50], y[:50])) == 50


def test_the_last_window_is_as_long_as_there_were_requests():
    """A last window that is cut short neither lowers the rate nor, when very short, inflates it."""
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    assert time.lengths(edges, 2.5).tolist() == [1, 1, 0.5]
    assert time.lengths(edges, 2.01).tolist() == [1, 1, 0.2]
