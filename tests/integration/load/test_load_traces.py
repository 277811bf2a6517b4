"""Recorded traffic at a server: tokens in and out are those of the trace, by the server's own log."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tailrace import load
from tailrace.load import LoadRun, Trace, Traffic, Workload, traces
from tailrace.load.rehearsal import rehearse

DATA = Path(__file__).parents[4] / "shared" / "data"
AZURE, MOONCAKE = DATA / "AzureLLMInferenceTrace_conv.csv", DATA / "mooncake_synthetic_trace.jsonl"
REQUESTS = 150
CONTEXT = 100_000
"""Requests of the trace beyond this are left out: the simulated model's context is 128,000 tokens."""


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A simulator that answers at once: its URL, and its access log, complete when the test reads it."""
    log = tmp_path / "access.jsonl"
    command = [sys.executable, "-m", "tailrace.simulator", "--log", str(log), "--ttft-s", "0", "--token-s", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1], log
        finally:
            process.terminate()


def azure(folder: Path, offset: str) -> Path:
    """A part of the recorded hour, in the form of 2023, or with the offset of 2024's time stamps."""
    rows = traces.read(_recorded(AZURE))[:REQUESTS]
    start = dt.datetime(2024, 5, 10, tzinfo=dt.UTC)
    stamps = [(start + dt.timedelta(seconds=row.at_s)).strftime("%Y-%m-%d %H:%M:%S.%f") + offset for row in rows]
    lines = [f"{stamp},{row.in_tok},{row.out_tok}" for stamp, row in zip(stamps, rows, strict=True)]
    file = folder / "azure.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines) + "\n")
    return file


def mooncake(folder: Path, _: str) -> Path:
    """The first requests of the recorded trace that fit into the context."""
    lines = _recorded(MOONCAKE).read_text().splitlines()[: REQUESTS * 2]
    fitting = [line for line in lines if json.loads(line)["input_length"] < CONTEXT][:REQUESTS]
    (folder / "mooncake.jsonl").write_text("\n".join(fitting) + "\n")
    return folder / "mooncake.jsonl"


def _recorded(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the recorded trace {path.name} is not beside the project (shared/data)")
    return path


@pytest.mark.parametrize(
    ("make", "offset"), [(azure, ""), (azure, "+00:00"), (mooncake, "")], ids=["azure 2023", "azure 2024", "mooncake"]
)
def test_a_replayed_trace_has_its_tokens_at_the_server(simulator, tmp_path: Path, make, offset: str):
    """Within 2 % in the mean, in and out, by the log of the server; without the rehearsal the answers are not."""
    url, log = simulator
    trace = _timely(make(tmp_path, offset))
    planned = traces.read(trace.path)
    plain = Traffic(trace, Workload(stream_share=0.5), timeout_s=120)
    for name, traffic in (("plain", plain), ("rehearsed", rehearse(plain, url).traffic)):
        with load.start(traffic, url, tmp_path / name) as load_run:
            pass
        assert load_run.summary.errors_by_type == {}, name
        assert load_run.summary.recorded == len(planned)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(rows) == 2 * len(planned) + 3  # the rehearsal: a short prompt, a long one, and a check
    rehearsed = rows[-len(planned) :]
    assert _mean(rehearsed, "in_tok") == pytest.approx(np.mean([row.in_tok for row in planned]), rel=0.02)
    assert _mean(rehearsed, "out_tok") == pytest.approx(np.mean([row.out_tok for row in planned]), rel=0.02)
    assert _mean(rows[: len(planned)], "out_tok") < 0.5 * np.mean([row.out_tok for row in planned])
    assert _known_share(load_run) == trace.arrivals().prefix_share


def _timely(path: Path) -> Trace:
    """Return the trace, played in about two seconds."""
    return Trace(path, speed=max(1.0, traces.read(path)[-1].at_s / 2), duration_s=60)


def _mean(rows: list[dict], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _known_share(load_run: LoadRun) -> float | None:
    from tailrace import analysis

    records = analysis.read(load_run.parts, ("prefix_tok", "planned_in_tok"))
    total = records["prefix_tok"].sum() / records["planned_in_tok"].sum()
    return float(total) or None
