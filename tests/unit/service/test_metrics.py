"""The service's metrics."""

from array import array
from itertools import pairwise

import pytest

from tailrace.client import Policy, Spend, Target
from tailrace.client.accounting import Attempt, Call
from tailrace.client.call.causes import CAUSES
from tailrace.client.limiters.spend import SpendLimiter
from tailrace.service.components import told
from tailrace.service.metrics import Metrics, buckets
from tailrace.service.settings import Settings
from tailrace.service.token_metrics import MODELS

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


STREAM = {"streamed": True, "ttft_s": 0.2, "tpot_s": 0.04, "gaps_us": array("q", (40_000, 50_000, 50_001)), "chunks": 4}


def test_the_times_of_tokens_are_observed_by_model() -> None:
    """First token, per token and gaps, with a bound at each limit of the SLO; a gap at the bound is within it."""
    metrics = Metrics(SETTINGS)
    metrics.count_call(call(**STREAM))
    assert value(metrics, "tailrace_time_to_first_token_seconds_bucket", model="m", le="0.3") == 1
    assert value(metrics, "tailrace_time_to_first_token_seconds_sum", model="m") == 0.2
    assert value(metrics, "tailrace_time_per_output_token_seconds_bucket", model="m", le="0.05") == 1
    assert value(metrics, "tailrace_inter_token_latency_seconds_bucket", model="m", le="0.05") == 2
    assert value(metrics, "tailrace_inter_token_latency_seconds_count", model="m") == 3
    assert value(metrics, "tailrace_inter_token_latency_seconds_sum", model="m") == 0.140001


def test_a_failed_stream_and_a_plain_answer_have_no_times_of_tokens() -> None:
    """Negative control: only good streams count."""
    metrics = Metrics(SETTINGS)
    metrics.count_call(call(**STREAM, outcome="error", error_type="error_event"))
    metrics.count_call(call())
    assert value(metrics, "tailrace_time_to_first_token_seconds_count", model="m") is None


def test_models_that_callers_choose_make_a_bounded_number_of_series() -> None:
    """Names beyond the limit, and those that are no names, count as "other"; no credential becomes a label."""
    metrics = Metrics(SETTINGS)
    for model in ("sk-" + "a" * 40, "my prompt", "x" * 500, *(f"m{number}" for number in range(200))):
        metrics.count_call(call(**STREAM, model=model))
    text = metrics.text().decode()
    assert text.count("tailrace_time_to_first_token_seconds_count{") == MODELS + 1
    assert value(metrics, "tailrace_time_to_first_token_seconds_count", model="other") == 203 - MODELS
    assert "sk-a" not in text
    assert "my prompt" not in text


@pytest.mark.parametrize(("status", "error_type", "named"), [
    (200, "error_event", "error_event"), (200, "cut_stream", "cut_stream"), (200, "bad_body", "bad_body"),
    (429, "rate_limit_exceeded", "http_429"), (503, "", "http_503"), (200, "unanswered_timeout", "timeout"),
    (200, "whatever a provider says", "other"), (999, "x", "other"),
])  # fmt: skip
def test_failures_are_counted_by_class(status: int, error_type: str, named: str) -> None:
    """The classes are those of the load generator; a provider's own words are no label."""
    metrics = Metrics(SETTINGS)
    metrics.count_failure(status, error_type)
    assert value(metrics, "tailrace_request_failures_total", error_type=named) == 1


def attempt(target: str = "", cause: object = None) -> Attempt:
    return Attempt("chat", "m", "", "openai", 1, target, 200, cause, 0.1)  # type: ignore[arg-type]


def test_attempts_are_counted_by_target_and_cause() -> None:
    """A good one has no cause; the label of a target has its host and path, and none of its query."""
    metrics = Metrics(SETTINGS)
    target = Target(base_url="https://h/team/v1?api-version=1", model="m", api_key_env="KEY_A").label
    for cause in (None, None, "rate_limit"):
        metrics.count_attempt(attempt(target, cause))
    name = "tailrace_target_attempts_total"
    assert value(metrics, name, target="h/team m KEY_A", cause="") == 2
    assert value(metrics, name, target="h/team m KEY_A", cause="rate_limit") == 1
    assert value(metrics, name, target="h/team m KEY_A", cause="quota") is None
    assert "api-version" not in metrics.text().decode()


def test_a_target_has_no_more_series_than_causes() -> None:
    """However many attempts there are, their number is that of the causes, and one for good ones."""
    metrics = Metrics(SETTINGS)
    for cause in (None, *CAUSES) * 20:
        metrics.count_attempt(attempt("h KEY_A", cause))
    assert metrics.text().decode().count("tailrace_target_attempts_total{") == len(CAUSES) + 1


def test_attempts_are_told_only_where_they_may_go_elsewhere() -> None:
    """With targets or fallbacks the service counts attempts; without, the control, a call pays nothing for it."""
    metrics = Metrics(SETTINGS)
    assert told(Policy(targets=(Target(model="m"),)), metrics).attempt_hooks == (metrics.count_attempt,)
    assert told(Policy(), metrics).attempt_hooks == ()


def test_calls_that_a_fallback_answered_are_counted() -> None:
    """A good answer of a fallback counts; its failure, and an answer of the first choice, do not."""
    metrics = Metrics(SETTINGS)
    for row in (call(fallback=True), call(fallback=True, outcome="error"), call()):
        metrics.count_call(row)
    assert value(metrics, "tailrace_fallbacks_total") == 1


def test_a_budget_shows_its_limit_what_is_left_and_its_end() -> None:
    """Gauges follow the limiter; without a spend limit, the control, there are none."""
    now = [1_000_000.0]
    metrics, limiter = Metrics(SETTINGS), SpendLimiter(Spend(max_usd=2.0, per="day"), lambda: now[0])
    names = [f"tailrace_budget_{name}" for name in ("usd", "left_usd", "ends_in_seconds")]
    assert [value(metrics, name) for name in names] == [None] * 3
    metrics.watch_budget(limiter)
    one = limiter.reservation("", 0.5)
    limiter.reserve(one)
    end_s = 12 * 86_400 - 1_000_000
    assert [value(metrics, name) for name in names] == [2.0, 1.5, end_s]
    limiter.settle(one, 0.25)
    now[0] += 100
    assert [value(metrics, name) for name in names] == [2.0, 1.75, end_s - 100]
    now[0] += end_s
    assert value(metrics, names[1]) == 2.0
    forever = Metrics(SETTINGS)
    forever.watch_budget(SpendLimiter(Spend(max_usd=2.0)))
    assert value(forever, names[2]) == float("inf")


def test_a_call_of_unknown_cost_is_counted_whatever_it_is_charged_by() -> None:
    """Also of an image, which counts no tokens; a failed call and one that is free, the controls, are not."""
    metrics = Metrics(SETTINGS)
    for row in (call(operation="images"), call(outcome="error"), call(cost_usd=0.0)):
        metrics.count_call(row)
    assert value(metrics, "tailrace_unpriced_calls_total") == 1
