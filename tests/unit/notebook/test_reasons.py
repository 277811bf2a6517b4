"""A check that fails has its reason beside it: in the result, in an event and in a figure; one that passes has none."""

import json
import shutil

import pandas as pd
import pytest

from tailrace.analysis import Judgement
from tailrace.notebook import begin
from tailrace.profile import load
from tailrace.records import DEFAULTS, Record
from tailrace.run import events, folder
from tailrace.verdict import Check

S = 1_000_000_000
FAILED = {"outcome": "error", "error_type": "http_503", "status": 503, "colour": ""}
ROW = {
    "run_id": "r", "shard": 0, "seq": 0, "step": "03_blue_green_switch", "phase": "switch", "colour": "blue",
    "release": "b", "generation": 1, "model": "m", "stream": False, "outcome": "miss", "error_type": "", "status": 200,
    "attempts": 1, "intended_ns": 0, "send_lag_us": 0, "service_us": 50_000, "ttfc_us": 40_000, "backoff_us": 0,
    "chunks": 0, "in_tok": 1, "out_tok": 1, "cached_tok": 0, "cost_microusd": 1, **DEFAULTS,
}  # fmt: skip


@pytest.fixture
def step(tmp_path, root, monkeypatch):
    """A step of a run whose second and third request failed, and whose fourth was slow."""
    shutil.copytree(root / "runbook", tmp_path / "runbook")
    monkeypatch.chdir(tmp_path)
    run = folder.create_run(tmp_path, load("local", tmp_path))
    step = begin("03_blue_green_switch", run_dir=str(run.path))
    rows = [
        {**ROW, "seq": i, "intended_ns": i * S, **d} for i, d in enumerate([{}, FAILED, FAILED, {"service_us": 2 * S}])
    ]
    part = run.records(step.name) / "part-00000000-0-00000.parquet"
    part.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=Record._fields).to_parquet(part)
    return step


def result(step) -> dict:
    return json.loads(step.run.result(step.name).read_text())


def test_a_check_that_fails_says_why(step):
    """Classes and times stand in the check, its event and the facts, and a figure shows them once."""
    failed = Check("no request failed", False, "2 of 4 failed")
    step.add_checks(failed, Check("none was cut", True, "0 cut"), about="switch")
    step.add_checks(Check("no stream was cut", False, "1 of 1"), about="switch")
    first, passed, again = result(step)["checks"]
    assert first["why"].startswith("2 × 503, within 1.05 s, from 1 s on. The cause is not known: the machine was not")
    assert (again["why"], "why" in passed) == (first["why"], False)
    assert [figure["name"] for figure in result(step)["figures"]] == ["failures"]
    assert next(e.fields.get("why") for e in events.read(step.run.path) if e.event == "check") == first["why"]
    assert list(result(step)["why"]) == ["failed requests of records:switch"]


def test_a_check_that_passes_says_nothing(step):
    """The negative control: with the same records, and without a failed check, nothing is explained or drawn."""
    step.add_checks(Check("it works", True, "1 of 1"), about="switch")
    assert "why" not in result(step)
    assert result(step)["figures"] == []


def test_only_what_was_due_later_is_explained(step):
    """Failures before a rollback are what it was for: those after it are the question."""
    step.add_checks(Check("none after", False, "1 of 2"), about="switch", since_ns=2 * S)
    assert result(step)["checks"][0]["why"].startswith("1 × 503")


def test_a_limit_that_was_not_kept_is_explained_by_the_slow(step):
    """A percentile is explained by the requests beyond its limit, a share of failures by the failures."""
    name = "03_blue_green_switch/records:switch"
    step.add_judgements(
        [
            Judgement("p99 within 600 ms", "FAIL", "p99 2,000 ms", measure="latency"),
            Judgement("error rate within 0.1 %", "FAIL", "2 of 4"),
            Judgement("p50 within 120 ms", "PASS", "p50 50 ms", measure="latency"),
        ],
        about=name,
    )
    slow, failed, kept = result(step)["checks"]
    assert slow["why"].startswith("1 request was beyond latency 600 ms")
    assert failed["why"].startswith("2 × 503")
    assert "why" not in kept
