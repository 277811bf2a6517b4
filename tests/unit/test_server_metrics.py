"""A server's own metrics page: read by the names that each server uses, and never for what it is not."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client import Histogram as ServerHistogram

from tailrace.server_metrics import KNOWN, LINES_LIMIT, Histogram, NotMetrics, parse

LLAMA = b"""# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 12
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
llamacpp:requests_deferred 2
"""


def page(values_s: dict[str, list[float]], name: str = "vllm:time_to_first_token_seconds") -> bytes:
    registry = CollectorRegistry()
    histogram = ServerHistogram(name, "…", ["model_name"], registry=registry, buckets=(0.1, 0.2, 0.4))
    for model, values in values_s.items():
        for value in values:
            histogram.labels(model).observe(value)
    Gauge("vllm:kv_cache_usage_perc", "…", ["engine"], registry=registry).labels("0").set(0.25)
    return generate_latest(registry)


def test_vllm_is_read_over_all_its_models():
    """Series of one name are added up over their labels; the times are in milliseconds."""
    reading = parse(page({"a": [0.05, 0.15], "b": [0.3]}), t_ns=7)
    assert (reading.t_ns, reading.gauges) == (7, {"cache_use": 0.25})
    assert reading.times["ttft"].buckets == ((100.0, 1), (200.0, 2), (400.0, 3), (math.inf, 3))


def test_llama_cpp_is_read():
    """A server with gauges alone tells these, and no times."""
    reading = parse(LLAMA, 0)
    assert (reading.gauges, reading.times) == ({"running": 3, "waiting": 2}, {})


def test_own_names_count_before_known_ones():
    """A name from the profile is read, and a page with that name alone is enough."""
    text = b"# TYPE my_queue gauge\nmy_queue 9\nllamacpp:requests_deferred 2\n"
    assert parse(text, 0, {"waiting": ("my_queue",)}).gauges == {"waiting": 9}
    assert parse(text, 0).gauges == {"waiting": 2}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html><body>Not found</body></html>", "not a Prometheus page: it begins with '<html>"),
        (b"# TYPE go_goroutines gauge\ngo_goroutines 7\n", "service.metric_names"),
        (b"", "none of the known names"),
        (b"vllm:num_requests_running{ oops\n", "not a Prometheus page"),
        (b"vllm:num_requests_running 1\n" * (LINES_LIMIT + 1), f"limit {LINES_LIMIT:,}"),
    ],
)
def test_what_is_no_such_page_is_said(body, why):
    """A page of HTML, of other names, of nothing, of broken lines or of too many is refused with the reason."""
    with pytest.raises(NotMetrics, match=why):
        parse(body, 0)


def test_a_huge_page_of_other_names_is_read():
    """The negative control of the limit: lines that nobody asked for do not count."""
    other = b"".join(b'other_metric{id="%d"} 1\n' % number for number in range(50_000))
    assert parse(other + LLAMA, 0).gauges["running"] == 3


def test_what_was_counted_since_is_a_histogram_again():
    """The difference of two readings holds what came in between; after a restart it holds what came since."""
    earlier = parse(page({"a": [0.05]}), 0).times["ttft"]
    later = parse(page({"a": [0.05, 0.3, 0.3]}), 0).times["ttft"]
    assert later.since(earlier).buckets == ((100.0, 0), (200.0, 0), (400.0, 2), (math.inf, 2))
    assert earlier.since(later) == earlier


def test_a_bucket_never_makes_a_value_slower_than_it_was():
    """Slower than a limit counts what was surely above it: values in the limit's own bucket may have been below."""
    histogram = Histogram(((100.0, 5), (200.0, 8), (math.inf, 10)))
    assert [histogram.slower(limit) for limit in (100.0, 150.0, 200.0, 500.0)] == [5, 2, 2, 0]
    assert histogram.percentile_ms("p50") == (0.0, 100.0)
    assert histogram.percentile_ms("p95") == (200.0, math.inf)
    assert all(math.isnan(bound) for bound in Histogram().percentile_ms("p50"))


def test_every_known_measure_is_one():
    """The table of names holds no measure that nothing reads."""
    assert {m for names in KNOWN.values() for m in names} <= {
        "running", "waiting", "cache_use", "ttft", "tpot", "itl", "latency",
    }  # fmt: skip


@pytest.mark.parametrize("count", ["NaN", "+Inf", "-Inf", "-1", "1e999", "1e300"])
def test_a_count_that_is_none_is_left_out(count):
    """A server's nonsense ends no gate: what is left can be counted; the control counts a plain number."""
    name = "vllm:time_to_first_token_seconds_bucket"
    lines = ('{n}{{le="0.1"}} {c}', '{n}{{le="NaN"}} 7', '{n}{{le="0.2"}} 2', '{n}{{le="+Inf"}} 3')
    text = "\n".join([*lines, "vllm:num_requests_running {c}", ""])
    found = parse(text.format(n=name, c=count).encode(), 0)
    assert found.times["ttft"].buckets == ((200.0, 2.0), (math.inf, 3.0))
    assert (found.times["ttft"].count, found.times["ttft"].slower(150)) == (3, 1)
    assert all(abs(value) < 1e16 for value in found.gauges.values())
    plain = parse(text.format(n=name, c=1).encode(), 0)
    assert (len(plain.times["ttft"].buckets), plain.gauges["running"]) == (3, 1.0)
