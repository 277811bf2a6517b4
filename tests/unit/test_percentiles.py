"""Percentiles have one definition: names, exact ranks, and the same values wherever one is said."""

from __future__ import annotations

import ast
import math
import re
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tailrace import analysis, percentiles
from tailrace.cli.load.document import document
from tailrace.load.rate_point import judge
from tailrace.load.recorder import Recorder
from tailrace.load.summary import LoadFacts, ShardResult, summarise
from tailrace.numbers import number
from tailrace.objectives import Objectives
from tailrace.records import Record
from tailrace.report import tables

LIB = Path(__file__).parents[2] / "lib" / "tailrace"
NAMES = st.decimals("0.01", "99.99", places=2).map(lambda percent: f"p{percent.normalize():f}")


@given(st.decimals(min_value=0, max_value=100, places=2).filter(lambda p: 0 < p < 100))
def test_a_name_stands_for_its_own_number(value):
    """Every pXX above 0 and below 100 is that share, exactly, whatever floats make of it."""
    assert percentiles.share(f"p{value}") == Fraction(value) / 100


@pytest.mark.parametrize("name", ["p0", "p00", "p100", "p-5", "99", "p", "pp99", "p99.", "p1e1", "P99"])
def test_what_is_no_percentile_is_refused(name):
    """Everything else is not a percentile."""
    with pytest.raises(ValueError, match="not a percentile"):
        percentiles.share(name)


@pytest.mark.parametrize(("n", "name", "rank"), [(4_000, "p99.9", 3_996), (1, "p0.1", 1), (1_000, "p99.9", 999)])
def test_a_rank_is_exact(n, name, rank):
    """No rounding of 0.999 × n moves a rank: in floats p99.9 of 4,000 would be the 3,997th."""
    assert percentiles.rank(n, name) == rank


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), NAMES)
def test_inverted_cdf_is_the_smallest_value_that_covers_the_share(values, name):
    """At least the share is at or below the percentile, and with any smaller value it would not be."""
    taken = percentiles.inverted_cdf(np.array(values), [name])[name]
    share, n = percentiles.share(name), len(values)
    assert sum(value <= taken for value in values) >= share * n
    assert sum(value < taken for value in values) < share * n
    assert taken == percentiles.of_sorted(np.sort(values), [name])[0]
    assert taken == percentiles.with_failures(np.sort(values), 0, [name])[0]


def test_of_nothing_is_nan():
    """No values have no percentile: NaN, never 0."""
    assert math.isnan(percentiles.inverted_cdf(np.array([]), ["p50"])["p50"])
    assert math.isnan(percentiles.with_failures(np.array([]), 0, ["p50"])[0])


@given(st.integers(1, 4_100), st.integers(0, 20), st.integers(0, 2**32 - 1))
@example(4_000, 0, 1)
@example(4_000, 3, 1)
@settings(deadline=None)
def test_all_who_say_a_percentile_say_the_same(n, failures, seed):
    """`--find`, the summary, the verdict and the table agree on any records, to the bit."""
    with tempfile.TemporaryDirectory() as folder:
        files, summary = recorded(Path(folder), n, failures, seed)
        found = judge(1.0, summary, files, Objectives(dict.fromkeys(percentiles.PERCENTILES, 1e9)))
        whole, records = document(summary, files)["groups"][0], analysis.read(files)
    table = analysis.latency(records, by=())
    row = table.iloc[0]
    judged = analysis.judge(records, Objectives(dict.fromkeys(percentiles.PERCENTILES, 1e9)))
    for name, judgement in zip(percentiles.PERCENTILES, judged, strict=True):
        value = row[percentiles.column(name)]
        if n >= percentiles.needs(name):
            assert whole[percentiles.column(name)] == value
            assert judgement.text.startswith(f"{name} {number(value)} ms ")
            assert tables.cell(row, name).startswith(f"{number(value)} ")
        else:
            assert whole[percentiles.column(name)] is None
            assert f"n/a (needs {percentiles.needs(name):,})" in judgement.text
            assert tables.cell(row, name) in judgement.text
        if n + failures >= percentiles.needs(name):
            assert found.latencies_ms[name] == row[percentiles.column(name, "adj")]
        if not failures:
            took_us = np.sort(records["send_lag_us"] + records["service_us"])
            assert found.latencies_ms[name] == took_us[percentiles.rank(n, name) - 1] / 1_000


def recorded(folder: Path, n: int, failures: int, seed: int):
    """Write `n` successes and some failures as a load generator does; return the files and their summary."""
    random = np.random.default_rng(seed)
    lags, services = random.integers(0, 500, n + failures), random.lognormal(9, 1, n + failures).astype(int)
    recorder = Recorder(folder, "part-x-0")
    for seq, (lag_us, service_us) in enumerate(zip(lags.tolist(), services.tolist(), strict=True)):
        error = ("error", "timeout") if seq >= n else ("miss", "")
        recorder.add(
            Record("", 0, seq, "", "", "", "", 0, "m", False, *error, 200, 1, seq * 10**6, lag_us, service_us,
                   -1, 0, 0, 1, 1, 0, -1)
        )  # fmt: skip
    recorder.close()
    files, sent = sorted(folder.glob("*.parquet")), n + failures
    result = ShardResult(0, sent, sent, 10**9, 0.1, 0.1, 0.1)
    return files, summarise(files, LoadFacts("open", 1, 0, sent / 1_000, (result,)))


QUANTILES = re.compile(r"\b(?:quantile|percentile|nanquantile|nanpercentile|quantiles)$")
EDGE_OF_AN_AXIS = {"report/figures/streaming.py"}


def calls_of_another_definition(source: str) -> list[str]:
    """Return the functions that `source` calls to take a quantile by whatever definition they have."""
    called = (node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [func.attr for func in called if isinstance(func, ast.Attribute) and QUANTILES.search(func.attr)]


def test_nobody_takes_a_percentile_by_another_definition():
    """No module calls `np.quantile` or its like, whose default interpolates."""
    found = {str(path.relative_to(LIB)) for path in LIB.rglob("*.py") if calls_of_another_definition(path.read_text())}
    assert found == EDGE_OF_AN_AXIS


def test_another_definition_is_seen():
    """The walk can fail."""
    assert calls_of_another_definition("import numpy as np\nx = np.quantile([1], 0.5)") == ["quantile"]
