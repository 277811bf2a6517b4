"""What is said before a load."""

from __future__ import annotations

from pathlib import Path

from tailrace.cli.load.options import LoadOptions, TrafficOptions
from tailrace.cli.load.preparation import prepare
from tailrace.objectives import Objectives


def prepared(**traffic: object):
    options = TrafficOptions(**traffic)  # type: ignore[arg-type]
    return prepare(LoadOptions("http://127.0.0.1:1/v1", options, Objectives(), rehearse=False))


def test_prompts_that_are_left_out_are_counted(tmp_path: Path, capsys):
    """The rows of a file that hold no prompt are named on stderr; the others are sent, at any rate."""
    file = tmp_path / "own.jsonl"
    file.write_text('{"prompt": "one"}\n{"other": 1}\n"two"\n')
    found = prepared(prompts=file)
    assert found.findings == ("own.jsonl: 2 prompts; left out: 1 without text",)
    assert found.findings[0] in capsys.readouterr().err
    assert found.traffic.workload.prompts == found.at(40.0).workload.prompts == ("one", "two")
    assert len(found.at(40.0).arrivals.offsets_ns()) == 4 * len(found.traffic.arrivals.offsets_ns())


def test_a_trace_says_what_it_was_read_as(tmp_path: Path):
    """Format and unit are named, so that nobody has to believe a guess."""
    file = tmp_path / "own.csv"
    file.write_text("Timestamp,Request tokens,Response tokens\n0,100,20\n60,300,40\n")
    (line,) = prepared(trace=file, speed=10.0).findings
    assert line == "own.csv: BurstGPT (seconds), 2 requests, mean 200 tokens in and 30 out"
