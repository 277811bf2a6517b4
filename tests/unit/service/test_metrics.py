"""The service's metrics."""

from itertools import pairwise

from tailrace.client.accounting import Call
from tailrace.service.metrics import Metrics, buckets
from tailrace.service.settings import Settings

SETTINGS = Settings(provider_url="http://127.0.0.1:9/v1", slo_ms=(50.0, 300.0), release="r1", colour="blue")


def call(**fields: object) -> Call:
    row = {
        "operation": "chat", "model": "m", "tenant": "", "outcome": "ok", "cache": "miss", "status": 200, "attempts": 1,
        "duration_s": 0.1, "backoff_s": 0.0, "queued_s": 0.0, "in_tok": 0, "out_tok": 0, "cached_tok": 0,
        "reasoning_tok": 0, "cost_usd": None, "saved_usd": None, "error_type": "", "streamed": False, "attempts_s": (),
        "detections": (),
    }  # fmt: skip
    return Call(**{**row, **fields})  # type: ignore[arg-type]


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_buckets_double_and_include_the_limits() -> None:
    """The bounds double from 100 µs, with one at each limit, in order."""
    bounds = buckets((50.0, 300.0))
    doubling = [bound for bound in bounds if bound not in (0.05, 0.3)]
    assert doubling[0] == 1e-4
    assert all(round(high / low, 6) == 2 for low, high in pairwise(doubling))
    assert {0.05, 0.3} <= set(bounds)
    assert list(bounds) == sorted(bounds)


def test_a_retried_miss_is_counted() -> None:
    """A miss in three attempts counts three requests upstream, two retries, its tokens and its cost."""
    metrics = Metrics(SETTINGS)
    metrics.count_call(call(attempts=3, in_tok=10, out_tok=5, cached_tok=4, cost_usd=0.5))
    assert value(metrics, "tailrace_upstream_attempts_total") == 3
    assert value(metrics, "tailrace_retries_total") == 2
    assert value(metrics, "tailrace_cache_lookups_total", result="miss") == 1
    assert [value(metrics, "tailrace_tokens_total", kind=kind) for kind in ("in", "out", "cached")] == [10, 5, 4]
    assert value(metrics, "tailrace_cost_usd_total") == 0.5


def test_a_hit_costs_nothing() -> None:
    """A hit counts as a look-up and as money saved; its tokens are not counted again."""
    metrics = Metrics(SETTINGS)
    metrics.count_call(call(cache="hit", attempts=0, in_tok=10, out_tok=5, cost_usd=0.0, saved_usd=0.5))
    assert value(metrics, "tailrace_tokens_total", kind="in") == 0
    assert value(metrics, "tailrace_cost_usd_total") == 0
    assert value(metrics, "tailrace_saved_usd_total") == 0.5


def test_a_stale_response_costs_no_tokens() -> None:
    """The failed attempts count; the tokens are those of an earlier call."""
    metrics = Metrics(SETTINGS)
    metrics.count_call(call(cache="stale", attempts=2, in_tok=10, out_tok=5, cost_usd=0.0, saved_usd=0.5))
    assert value(metrics, "tailrace_upstream_attempts_total") == 2
    assert value(metrics, "tailrace_tokens_total", kind="in") == 0


def test_an_unknown_price_is_not_zero() -> None:
    """A call without a known price is counted as unpriced."""
    metrics = Metrics(SETTINGS)
    metrics.count_call(call(in_tok=10))
    assert value(metrics, "tailrace_unpriced_calls_total") == 1


def test_the_text_names_the_build() -> None:
    """The exposition names version, release and colour, and the duration by outcome."""
    metrics = Metrics(SETTINGS)
    metrics.observe_request("hit", 0.0003)
    text = metrics.text().decode()
    assert 'colour="blue"' in text
    assert 'release="r1"' in text
    assert 'tailrace_request_duration_seconds_bucket{le="0.0004",outcome="hit"} 1.0' in text
