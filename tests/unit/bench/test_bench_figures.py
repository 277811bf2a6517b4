"""The figures and tables of a benchmark are drawn from its rows alone."""

import re

import pandas as pd
import pytest

from tailrace import bench
from tailrace.bench.plan import MOST_CELLS
from tailrace.report import catalogue, tables

FIGURES = sorted(name for name in catalogue.FIGURES if name.startswith("benchmark "))


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_names_every_target_and_its_numbers(rows, name):
    """Both targets are in the drawing and in its text."""
    drawn = catalogue.draw(name, {"cells": rows}.__getitem__)
    assert {"a", "b"} <= set(re.findall(r"\b[ab]\b", drawn.alt + drawn.svg("k")))
    assert len(re.findall(r"\d", drawn.alt)) > 5


@pytest.mark.parametrize("name", FIGURES)
def test_without_a_measured_figure_it_says_so(rows, name):
    """No empty axes: a sentence; the control above draws."""
    empty = rows.assign(ttft_p50_ms=float("nan"), good_share=float("nan"), tokens_per_s_user=float("nan"))
    drawn = catalogue.draw(name, {"cells": empty}.__getitem__)
    assert re.search(r"no cell has|no goodput limits", drawn.alt)


@pytest.mark.parametrize("name", FIGURES)
def test_the_largest_plan_has_figures_of_a_bounded_size(rows, name):
    """As many cells as a plan may have, in 16 targets."""
    per_target = MOST_CELLS // 16
    many = pd.concat(
        [rows.head(1).assign(target=f"t{t}", level=float(level)) for t in range(16) for level in range(1, per_target)]
    )
    assert len(catalogue.draw(name, {"cells": many}.__getitem__).svg("k")) < 2_000_000


def test_the_tables_name_loads_replicas_and_ratios(plan, rows):
    """Numbers as text, and a target that no load suffices for in words."""
    frames = {
        "cells": rows,
        "choice": bench.choose(rows.assign(good_share=0.0), plan),
        "contrast": bench.contrast(rows, "a", "b"),
    }
    assert "none is good enough" in tables.draw("choice", frames.__getitem__)
    assert "ttft_p50_ms (primary)" in tables.draw("contrast", frames.__getitem__)
    assert "TTFT p50, ms" in tables.draw("benchmark", frames.__getitem__)
