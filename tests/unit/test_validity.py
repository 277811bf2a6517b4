"""Whether the load generator kept its schedule: one rule, whoever says it and from whatever is known."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.analysis import schedule
from tailrace.checks import switching
from tailrace.load.summary import LoadFacts, ShardResult, summarise
from tailrace.validity import Generator

GOOD = Generator(100.0, 100.0, 0.5, 50.0, 1.0, 0.3)


def test_a_generator_that_kept_its_schedule_is_believed():
    """Within all limits there is no reason, and what nobody measured is none either."""
    assert GOOD.invalid_reasons() == replace(GOOD, loop_lag_p99_ms=None, cpu_share=None).invalid_reasons() == []


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"achieved_rps": 98.0}, "achieved 98.0 of 100.0 requests/s (98.0%; limit 99%)"),
        ({"send_lag_p99_ms": 10.1}, "send lag has p99 10.1 ms (limit 10 ms)"),
        ({"loop_lag_p99_ms": 25.0}, "event-loop lag has p99 25.0 ms (limit 20 ms)"),
        ({"cpu_share": 0.99}, "99% of a core (limit 95%)"),
    ],
)
def test_each_limit_has_its_reason(facts, reason):
    """Each fact beyond its limit alone makes the measurement invalid, with fact and limit in words."""
    reasons = replace(GOOD, **facts).invalid_reasons()
    assert len(reasons) == 1
    assert reason in reasons[0]


@pytest.mark.parametrize(("service_p50_ms", "limit_ms"), [(50, 10), (200, 10), (2_000, 100), (float("nan"), 10)])
def test_lag_is_held_against_the_median(service_p50_ms, limit_ms):
    """5 % of the median, and never less than 10 ms; where nothing succeeded, 10 ms."""
    generator = replace(GOOD, service_p50_ms=service_p50_ms)
    assert replace(generator, send_lag_p99_ms=limit_ms).invalid_reasons() == []
    assert len(replace(generator, send_lag_p99_ms=limit_ms + 0.1).invalid_reasons()) == 1


def write(folder, frame: pd.DataFrame):
    path = folder / "part-x-0.parquet"
    frame.to_parquet(path)
    return [path]


@given(
    lag_us=st.integers(0, 200_000), late=st.integers(0, 40), service_us=st.sampled_from([2_000, 60_000, 900_000]),
    failures=st.integers(0, 400), n=st.integers(2, 1_500),
)  # fmt: skip
def test_summary_records_and_checks_say_the_same(tmp_path_factory, lag_us, late, service_us, failures, n):
    """The summary of a load, its records alone, the check on both and the report agree on the same requests."""
    failed = [i < failures for i in range(n)]
    frame = pd.DataFrame({
        "intended_ns": [i * 10_000_000 for i in range(n)],
        "send_lag_us": [lag_us if i % 100 < late else 100 for i in range(n)],
        "service_us": [30_000_000 if bad else service_us for bad in failed],
        "outcome": ["error" if bad else "miss" for bad in failed],
        "error_type": ["timeout" if bad else "" for bad in failed],
    })  # fmt: skip
    facts = LoadFacts("open", 1, 0, n / 100, (ShardResult(0, n, n, 10**9, 0.1, 0.1, 0.1),))
    summary = summarise(write(tmp_path_factory.mktemp("records"), frame), facts)
    assert schedule.invalid_reasons(frame) == list(summary.reasons)
    assert switching.on_schedule(frame).ok == switching.kept_schedule([summary]).ok == (True if summary.valid else None)
