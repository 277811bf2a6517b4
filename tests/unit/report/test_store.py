"""What the list of all runs needs of a run is kept beside it: old runs cost a new one nothing."""

import json
import os
import shutil

import pytest

from tailrace.report import evidence, index, store
from tailrace.run.folder import RunDir, all_runs
from tailrace.runner import history


@pytest.fixture
def runs(tmp_path, new_run):
    """Two ended runs."""
    for i in range(2):
        folder = new_run(tmp_path / "runs" / f"2026010{i + 1}-120000-local-ab12")
        record = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(record | {"verdict": "PASS", "started_at": f"2026-01-0{i + 1}"}))
    return tmp_path / "runs"


@pytest.fixture
def read(monkeypatch):
    """The runs whose records are read, in order."""
    names = []
    records = evidence.subject_records
    monkeypatch.setattr(evidence, "subject_records", lambda run, name="": names.append(run.name) or records(run, name))
    return names


def test_the_records_of_a_run_are_read_once(runs, read):
    """The second list is the same as the first, and reads none; a changed run.json, the control, is read again."""
    first = store.history(runs)
    assert read == ["20260102-120000-local-ab12", "20260101-120000-local-ab12"]
    assert (first["n"] > 0).all()
    assert (first["p99_ms"] > 0).all()
    assert store.history(runs).equals(first)
    page = index.html(runs)
    assert len(read) == 2
    record = runs / "20260101-120000-local-ab12" / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"verdict": "FAIL"}))
    assert store.history(runs)["verdict"].tolist() == ["FAIL", "PASS"]
    assert read[2:] == ["20260101-120000-local-ab12"]
    assert index.html(runs) != page


@pytest.mark.parametrize("text", ["", "{", "[]", '{"of": "x"}', '{"row": 5}'])
def test_a_damaged_summary_is_made_anew(runs, read, text):
    """A summary that is cut off, of another shape or of another run.json hides nothing."""
    first = store.history(runs)
    RunDir(runs / "20260101-120000-local-ab12").summary.write_text(text)
    assert store.history(runs).equals(first)
    assert read[2:] == ["20260101-120000-local-ab12"]


@pytest.mark.parametrize("n", [None, "9", True, 1.5])
def test_a_summary_with_a_number_that_is_none_is_made_anew(runs, n):
    """Also where the digest is right."""
    first = store.history(runs)
    summary = RunDir(runs / "20260101-120000-local-ab12").summary
    document = json.loads(summary.read_text())
    document["row"]["n"] = n
    summary.write_text(json.dumps(document))
    assert store.history(runs).equals(first)


def test_a_run_under_way_keeps_no_summary(runs):
    """Its records are not all there."""
    record = runs / "20260102-120000-local-ab12" / "run.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"verdict": None}))
    store.history(runs)
    assert [run.summary.exists() for run in all_runs(runs)] == [True, False]


def test_summaries_that_are_missing_are_computed_while_there_is_time(runs, read):
    """Runs of an older version have none: the last is read in any case, the others are listed without numbers."""
    seconds = iter([0.0, store.PATIENCE_S + 1])
    rows = store.summaries(store.newest(runs), clock=lambda: next(seconds))
    assert [row["n"] > 0 for row in rows] == [False, True]
    assert read == ["20260102-120000-local-ab12"]
    rows = store.summaries(store.newest(runs), clock=lambda: 0.0)  # the next list has the time
    assert [row["n"] > 0 for row in rows] == [True, True]


def test_the_list_is_bounded(runs, monkeypatch):
    """The newest runs are listed, those before them counted; with room for all, the control, all are listed."""
    assert "2 runs, newest first" in index.html(runs)
    monkeypatch.setattr(store, "NEWEST", 1)
    page = index.html(runs)
    assert "The newest 1 of 2 runs" in page
    assert "1 older run, from 20260101-120000-local-ab12 to 20260101-120000-local-ab12" in page
    assert "<td>20260101" not in page
    assert len(store.history(runs)) == 1


def test_two_thousand_old_runs_are_read_a_few_times(runs, read, monkeypatch):
    """What a new run reads of old ones does not grow with their number: no records, and the newest summaries."""
    one = runs / "20260101-120000-local-ab12"
    store.history(runs)
    for i in range(2_000):
        copy = runs / f"20250101-{i:06d}-local-ab12"
        copy.mkdir()
        for path in (one / "run.json", one / "summary.json"):
            os.link(path, copy / path.name)
    summaries = []
    kept = store._kept
    monkeypatch.setattr(store, "_kept", lambda run: summaries.append(run.id) or kept(run))
    read.clear()
    index.write(runs)
    assert len(summaries) == store.NEWEST
    assert read == []
    assert (runs / "index.html").stat().st_size < 200_000 + store.NEWEST * 1_500
    validated = []
    monkeypatch.setattr(RunDir, "read", lambda run: validated.append(run.id))
    assert (history.unfinished(runs.parent), validated) == ([], [])
    shutil.rmtree(one)
    assert len(store.history(runs)) == store.NEWEST
