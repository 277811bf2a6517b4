"""Lines on a terminal while a load runs."""

from __future__ import annotations

import math
from dataclasses import replace

from tailrace.cli.load.screen import line, point
from tailrace.load import LoadSnapshot
from tailrace.load.rate_point import Point

MEASURED = Point(
    100.0, 99.5, 0.0, {"p99": 61.04, "ttft_p95": 20.0}, valid=True, meets=True, reason="", good_share=0.995
)


def test_a_live_line_names_the_loop_and_fits_80_columns():
    """It counts what was sent, what is done and what failed, with rate and percentiles of the last seconds."""
    text = line(LoadSnapshot(1200, 1195, 3, 100.4, 131.1, 177.5), 12.0, "open")
    assert text == " 12.0 s  open loop  1,200 sent 1,195 done 3 errors  100/s  p50 131.1  p99 177.5 ms"
    assert len(line(LoadSnapshot(151, 148, 0, 20.0, 131.1, 177.5), 8.0, "open")) < 80


def test_before_the_first_answer_there_is_no_number():
    """n/a, never 0."""
    assert line(LoadSnapshot(0, 0, 0, math.nan, math.nan, math.nan), 0.1, "closed").endswith(
        "n/a/s  p50 n/a  p99 n/a ms"
    )


def test_a_point_of_a_search_says_whether_it_meets_the_limits():
    """A rate, its goodput as a rate and a share, each limited percentile, and the reason when it does not meet them."""
    assert point(MEASURED) == "     100.0/s  goodput       99.5/s (99.5% good)  p99 61.0 ms  ttft_p95 20.0 ms  meets"
    beyond = replace(MEASURED, meets=False, reason="p99 61.0 ms is beyond 50 ms", latencies_ms={}, good_share=math.nan)
    assert point(beyond) == "     100.0/s  goodput       99.5/s  p99 61.0 ms is beyond 50 ms"
