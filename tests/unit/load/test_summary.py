"""Whether a load run is valid: each reason against it, and that without one it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tailrace.load.recorder import Recorder
from tailrace.load.summary import LoadFacts, ShardResult, parts, summarise
from tailrace.records import Record

GOOD = LoadFacts("open", 1, 0, 10.0, (ShardResult(0, 1000, 1000, 10**10, 0.2, 0.5, 3.0),))


def record(n: int, **facts) -> Record:
    plain = Record(
        "", 0, n, "", "", "", "", 0, "m", False, "miss", "", 200, 1, n * 10**7, 100, 5000, 4900, 0, 0, 1, 1, 0, -1
    )  # fmt: skip
    return plain._replace(**facts)


@pytest.fixture
def write(tmp_path: Path):
    """Write records, and give the files."""

    def go(records: list[Record]) -> list[Path]:
        keeper = Recorder(tmp_path, "part-x-0")
        for one in records:
            keeper.add(one)
        keeper.close()
        return parts(tmp_path, "part-x")

    return go


def test_a_good_load_run_is_valid(write):
    """Everything sent on time and recorded: valid, without reasons."""
    summary = summarise(write([record(n) for n in range(1000)]), GOOD)
    assert summary.valid, summary.reasons
    assert (summary.intended, summary.sent, summary.recorded, summary.errors) == (1000, 1000, 1000, 0)
    assert summary.intended_rps == summary.achieved_rps == pytest.approx(100)
    assert summary.send_lag_p99_ms == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"due": 1020}, "achieved 100.0 of 102.0"),
        ({"sent": 1003}, "3 of 1003 requests sent have no record"),
        ({"loop_lag_p99_ms": 25.0}, "event-loop lag"),
        ({"cpu_share": 0.99}, "99% of a core"),
    ],
)
def test_each_doubt_has_its_reason(write, facts, reason):
    """What the workers say of themselves can make a load run invalid, in words."""
    load_facts = replace(GOOD, results=(replace(GOOD.results[0], **facts),))
    summary = summarise(write([record(n) for n in range(1000)]), load_facts)
    assert not summary.valid
    assert any(reason in text for text in summary.reasons), summary.reasons


def test_lag_beyond_the_limit(write):
    """A p99 of the send lag above 10 ms is a doubt when the service is quick, and none when it is very slow."""
    late = [record(n, send_lag_us=12_000 if n % 50 == 0 else 50) for n in range(1000)]
    assert "send lag" in summarise(write(late), GOOD).reasons[0]
    slow = [one._replace(service_us=2_000_000) for one in late]
    assert summarise(write(slow), GOOD).valid


def test_a_saturated_closed_loop_is_no_doubt(write):
    """Users that ask as fast as they can may use a whole core."""
    result = replace(GOOD.results[0], cpu_share=1.0, due=None)
    assert summarise(write([record(n) for n in range(1000)]), replace(GOOD, loop="closed", results=(result,))).valid


def test_a_missing_shard(write):
    """A worker that did not report back makes the load run invalid."""
    summary = summarise(write([record(n) for n in range(1000)]), replace(GOOD, shards=2))
    assert "1 of 2 generator processes did not report back" in summary.reasons


def test_no_records(write):
    """Nothing recorded is not valid, and its figures are NaN, not 0."""
    summary = summarise(write([]), replace(GOOD, results=()))
    assert not summary.valid
    assert summary.send_lag_p99_ms != summary.send_lag_p99_ms


def test_errors_by_class(write):
    """Failures are counted by class, the most frequent first."""
    failed = [record(n, outcome="error", error_type="timeout" if n % 3 else "http_503") for n in range(30)]
    summary = summarise(write(failed), replace(GOOD, results=(replace(GOOD.results[0], sent=30, due=30),)))
    assert list(summary.errors_by_type.items()) == [("timeout", 20), ("http_503", 10)]
