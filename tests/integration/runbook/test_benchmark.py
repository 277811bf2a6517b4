"""`tailrace bench` on simulators: a row for each cell, a page, and nothing measured twice."""

import signal
import time

import pandas as pd
import pytest
import yaml

STEP = "06_benchmark"
PLAN = {
    "targets": {"small": {"simulator": {"ttft_s": 0.01, "token_s": 0.0}}, "large": {"simulator": {"ttft_s": 0.03}}},
    "concurrency": [2, 6],
    "input_tokens": [32],
    "output_tokens": [8],
    "measure": {"warmup_s": 0.2, "min_s": 1, "max_s": 2},
    "repeats": 1,
    "goodput": {"ttft_ms": 60_000, "share": 0.5},
}


@pytest.fixture
def plan(project):
    """Write a plan into the project, and return its path there."""

    def write(**changes: object) -> str:
        (project.root / "small.yaml").write_text(yaml.safe_dump(PLAN | changes))
        return "small.yaml"

    return write


def cells(project) -> pd.DataFrame:
    return pd.read_parquet(project.root / "runs" / "latest" / "data" / STEP / "cells.parquet")


def test_every_cell_has_a_row_and_is_kept_for_the_next_run(project, plan):
    """The rows say what was measured; `--resume` measures none of them again, and refuses another plan."""
    status, output = project.run("bench", "--plan", plan())
    assert status in (0, 2), output  # this machine may be too busy to be believed
    rows = cells(project)
    assert len(rows) == 4
    assert (rows["n"] > 0).all()
    assert (rows["errors"] == 0).all()
    medians = rows.groupby("target")["ttft_p50_ms"].min()
    assert medians["small"] < medians["large"]
    assert (rows["out_tok"] == 8).all()
    first = (project.root / "runs" / "latest").resolve()
    page = (first / "report.html").read_text()
    assert "Tokens per second to each user" in page

    status, output = project.run("bench", "--plan", plan(), "--resume", str(first))
    assert status in (0, 2), output
    assert (project.root / "runs" / "latest").resolve() != first
    pd.testing.assert_frame_equal(cells(project), rows)

    status, output = project.run("bench", "--plan", plan(seed=2), "--resume", str(first))
    assert status == 1
    assert "was measured by another plan" in output
    assert project.run("down")[0] == 0


@pytest.mark.deep
def test_an_interrupted_benchmark_goes_on(project, plan):
    """After Ctrl-C in the middle, the rows so far are there, and only the others are measured."""
    process = project.start("bench", "--plan", plan(repeats=3))
    deadline = time.monotonic() + 240
    kept = project.root / "runs" / "latest" / "data" / STEP / "cells.parquet"
    while not (kept.is_file() and len(pd.read_parquet(kept)) >= 2):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    first = (project.root / "runs" / "latest").resolve()
    before = cells(project)
    assert 2 <= len(before) < 12
    status, output = project.run("bench", "--plan", plan(repeats=3), "--resume", str(first))
    assert status in (0, 2), output
    rows = cells(project)
    assert len(rows) == 12
    pd.testing.assert_frame_equal(rows.head(len(before)), before)


@pytest.mark.parametrize(
    ("changes", "message"), [({"concurrency": []}, "give concurrency"), ({"speed": 1}, "unknown key")]
)
def test_a_wrong_plan_starts_nothing(project, plan, changes, message):
    """It is refused by file and key before there is a run."""
    status, output = project.run("bench", "--plan", plan(**changes))
    assert status == 3
    assert "small.yaml" in output
    assert message in output
    assert not (project.root / "runs").exists()
