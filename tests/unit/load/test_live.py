"""The live view: merged counters and percentiles within a bucket's width."""

import math
import random

import numpy as np
import pytest

from tailrace import percentiles
from tailrace.load.live import Board, ShardProgress, buckets, percentile_ms


def test_quantiles_within_a_bucket():
    """A quantile of the buckets is at most 2.3 % above the exact one, and never below."""
    values = [int(random.Random(n).lognormvariate(9, 1)) for n in range(2000)]
    for name in ("p50", "p99"):
        exact = percentiles.inverted_cdf(np.array(values), [name])[name] / 1e3
        assert exact <= percentile_ms(buckets(values), name) <= exact * 1.023


def test_nothing_is_nan():
    """No samples give NaN, never 0."""
    assert math.isnan(percentile_ms({}, "p50"))
    assert math.isnan(Board().snapshot().p50_ms)


def test_two_shards_are_one_view():
    """Counters add up, and the rate is that of both."""
    board = Board()
    for second in range(1, 4):
        for shard in range(2):
            board.add(shard, ShardProgress(second * 10**9, second * 110, second * 100, second, {320: 100}))
    snapshot = board.snapshot()
    assert (snapshot.sent, snapshot.done, snapshot.errors) == (660, 600, 6)
    assert snapshot.rate_rps == pytest.approx(200)


def test_what_is_old_is_forgotten():
    """Percentiles are those of the last seconds."""
    board = Board(window_s=2)
    board.add(0, ShardProgress(10**9, 10, 10, 0, {500: 10}))
    board.add(0, ShardProgress(9 * 10**9, 20, 20, 0, {320: 10}))
    assert board.snapshot().p99_ms == percentile_ms({320: 10}, "p99")
