"""Hooks: how they report unknown costs, tokens that were not billed, models and providers."""

import builtins
import importlib
import io
import json
import logging
import sys
from array import array

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from tailrace.client import Attempt, Call
from tailrace.client.hooks import json_log, structured
from tailrace.client.hooks.otel import opentelemetry, opentelemetry_attempts
from tailrace.client.hooks.prometheus import prometheus, prometheus_attempts
from tailrace.client.request import envelope
from tailrace.client.wire import Request

ROW = Call(
    operation="chat", model="gpt-4o-mini-2024-07-18", tenant="", outcome="ok", cache="miss", status=200, attempts=1,
    duration_s=0.5, backoff_s=0.0, queued_s=0.0, in_tok=7, out_tok=3, cached_tok=0, reasoning_tok=0, cost_usd=0.25,
    saved_usd=None, error_type="", streamed=False, attempts_s=(0.5,), detections=(), asked_model="gpt-4o-mini",
)  # fmt: skip


ATTEMPT = Attempt(
    operation="chat", model="gpt-4o-mini", tenant="acme", provider="openai", number=2, target="eu", status=503,
    cause="server", duration_s=0.5, wait_s=0.1234567,
)  # fmt: skip
GOOD = ATTEMPT._replace(number=1, status=200, cause=None, target="", wait_s=None)


class Told:
    """Everything that the hooks report of some rows."""

    def __init__(self, *rows):
        lines, logger = io.StringIO(), logging.Logger("calls")
        logger.addHandler(logging.StreamHandler(lines))
        self.events, self.registry = [], CollectorRegistry()
        spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        tracing, metering = TracerProvider(), MeterProvider([self._reader])
        tracing.add_span_processor(SimpleSpanProcessor(spans))
        hooks = json_log(logger), structured(self), prometheus(self.registry), opentelemetry(tracing, metering)
        for row in rows:
            for hook in hooks:
                hook(row)
        self.lines = [json.loads(line) for line in lines.getvalue().splitlines()]
        self.spans = spans.get_finished_spans()
        self.bounds, self.counts = {}, {}
        for of in self._reader.get_metrics_data().resource_metrics:
            for metric in (one for scope in of.scope_metrics for one in scope.metrics):
                for point in metric.data.data_points:
                    self.bounds[metric.name] = point.explicit_bounds
                    self.counts[metric.name] = list(point.bucket_counts)
        self.points = [
            (metric.name, dict(point.attributes), point.sum)
            for of in self._reader.get_metrics_data().resource_metrics
            for scope in of.scope_metrics for metric in scope.metrics for point in metric.data.data_points
        ]  # fmt: skip

    def info(self, event, **fields):
        self.events.append(fields)

    warning = info

    def value(self, name, **labels):
        return self.registry.get_sample_value(name, {"model": ROW.model, **labels})

    def tokens(self):
        return [amount for name, _, amount in self.points if name == "gen_ai.client.token.usage"]


def test_a_cost_that_is_not_known_is_never_0():
    """No hook reports 0 for it; beside a call of known cost, the sum is that call's, and the unknown are counted."""
    told = Told(ROW._replace(cost_usd=None))
    assert told.lines[0]["cost_usd"] is told.events[0]["cost_usd"] is None
    assert "tailrace.cost_usd" not in told.spans[0].attributes
    assert told.value("llm_cost_usd_total") is None
    assert told.value("llm_cost_unknown_total") == 1
    both = Told(ROW, ROW._replace(cost_usd=None))
    assert (both.value("llm_cost_usd_total"), both.value("llm_cost_unknown_total")) == (0.25, 1)


def test_a_cost_of_0_is_known():
    """Negative control: a hit costs 0, and that is known."""
    told = Told(ROW._replace(cost_usd=0.0, saved_usd=0.25, cache="hit", attempts=0))
    assert told.lines[0]["cost_usd"] == told.events[0]["cost_usd"] == 0.0
    assert told.spans[0].attributes["tailrace.cost_usd"] == 0.0
    assert (told.value("llm_cost_usd_total"), told.value("llm_cost_unknown_total")) == (0.0, None)


@pytest.mark.parametrize(("cache", "attempts", "billed"), [
    ("miss", 1, True), ("bypass", 3, True), ("hit", 0, False), ("coalesced", 0, False), ("stale", 2, False),
    ("hit", 1, False), ("miss", 0, False),
])  # fmt: skip
def test_only_tokens_of_this_very_call_are_billed(cache, attempts, billed):
    """A stale answer in place of an error has tokens, and attempts before it, but is not billed again."""
    told = Told(ROW._replace(cache=cache, attempts=attempts))
    assert told.value("llm_tokens_total", kind="input") == (7 if billed else None)
    assert sorted(told.tokens()) == ([3, 7] if billed else [])


def test_what_was_asked_and_what_answered_are_two():
    """By the conventions: the requested model, the one that answered, and none when there was no answer."""
    ok, failed, listed = Told(
        ROW, ROW._replace(outcome="error", error_type="http_500", status=500), ROW._replace(asked_model="", model="")
    ).spans
    assert ok.name == "chat gpt-4o-mini"
    assert ok.attributes["gen_ai.request.model"] == "gpt-4o-mini"
    assert ok.attributes["gen_ai.response.model"] == ROW.model
    assert "gen_ai.response.model" not in failed.attributes
    assert listed.name == "chat"
    assert "gen_ai.request.model" not in listed.attributes


@pytest.mark.parametrize(("url", "provider"), [
    ("https://api.openai.com/v1/models", "openai"), ("http://127.0.0.1:9/v1/models", "openai"),
    ("https://mine.openai.azure.com/openai/deployments/d/chat/completions?api-version=1", "azure.ai.openai"),
    ("https://API.Groq.com:443/openai/v1/models", "groq"), ("https://notapi.x.ai.example/v1/models", "openai"),
    ("https://evilapi.x.ai/v1", "openai"), ("https://user:pass@api.x.ai/v1", "x_ai"),
])  # fmt: skip
def test_the_provider_is_told_by_its_address(url, provider):
    """By the whole host name or a domain suffix; every other host speaks OpenAI's API."""
    assert envelope.read(Request("GET", url, (), b"")).provider == provider


SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
STREAM = ROW._replace(streamed=True, chunks=3, ttft_s=0.1, tpot_s=0.03, gaps_us=array("q", (50_000, 10_000)))


def test_the_bounds_are_those_of_the_conventions():
    """Calls of 20 to 300 ms fall into buckets of their own; with the SDK's defaults they would share one."""
    told = Told(*[STREAM._replace(duration_s=seconds) for seconds in (0.015, 0.03, 0.06, 0.12, 0.24)])
    for name in ("duration", "time_to_first_chunk", "time_per_output_chunk"):
        assert told.bounds[f"gen_ai.client.operation.{name}"] == SECONDS
    assert told.bounds["gen_ai.client.token.usage"] == TOKENS
    assert told.counts["gen_ai.client.operation.duration"][:7] == [0, 1, 1, 1, 1, 1, 0]


def test_the_times_of_a_streams_tokens_are_told():
    """First chunk, each gap, and in Prometheus time to first token and per output token."""
    told = Told(STREAM)
    sums = {name: total for name, _, total in told.points}
    assert sums["gen_ai.client.operation.time_to_first_chunk"] == pytest.approx(0.1)
    assert sums["gen_ai.client.operation.time_per_output_chunk"] == pytest.approx(0.06)
    assert told.spans[0].attributes["gen_ai.response.time_to_first_chunk"] == 0.1
    assert told.value("llm_time_to_first_token_seconds_sum", operation="chat") == 0.1
    assert told.value("llm_time_per_output_token_seconds_sum", operation="chat") == 0.03
    assert (told.lines[0]["ttft_s"], told.lines[0]["tpot_s"], told.lines[0]["chunks"]) == (0.1, 0.03, 3)


def test_a_call_without_a_stream_has_no_times_of_tokens():
    """Negative control: the conventions forbid them for other calls."""
    told = Told(ROW)
    assert not {name for name, _, _ in told.points if "chunk" in name}
    assert told.value("llm_time_to_first_token_seconds_count", operation="chat") is None


def test_a_very_long_stream_holds_its_caller_only_shortly():
    """Of a hundred thousand gaps, some thousand are recorded, evenly spaced."""
    told = Told(STREAM._replace(gaps_us=array("q", range(100_000))))
    recorded = sum(told.counts["gen_ai.client.operation.time_per_output_chunk"])
    assert 1000 < recorded <= 4096


def test_a_second_hook_on_one_registry_says_what_to_do():
    """The error is not about time series; with another prefix, or on another registry, the hook is made."""
    registry = CollectorRegistry()
    prometheus(registry)
    with pytest.raises(ValueError, match="give it to every client"):
        prometheus(registry)
    prometheus(registry, prefix="other")
    prometheus(CollectorRegistry())


@pytest.mark.parametrize(("module", "package", "extra"), [
    ("tailrace.client.stores.redis", "redis", "redis"), ("tailrace.client.hooks.otel", "opentelemetry", "otel"),
    ("tailrace.client.hooks.prometheus", "prometheus_client", "service"),
])  # fmt: skip
def test_a_missing_extra_is_named(monkeypatch, module, package, extra):
    """Without the extra the error names what to install; with it, the same import works."""
    importlib.import_module(module)
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=rf"install tailrace\[{extra}\]"):
        importlib.import_module(module)


def test_attempts_are_logged_as_lines_and_events():
    """A failed attempt is a warning with its cause and the wait after it; a good one is information."""
    lines, logger, events = io.StringIO(), logging.Logger("attempts"), []
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)

    class Log:
        def info(self, event, **fields):
            events.append(("info", event, fields["cause"]))

        def warning(self, event, **fields):
            events.append(("warning", event, fields["cause"]))

    for row in (ATTEMPT, GOOD, ROW):
        json_log(logger)(row)
    for row in (ATTEMPT, GOOD):
        structured(Log())(row)
    failed, good, call = (line.partition(" ") for line in lines.getvalue().splitlines())
    assert (failed[0], good[0], call[0]) == ("WARNING", "INFO", "INFO")
    told = json.loads(failed[2])
    assert (told["event"], told["cause"], told["number"], told["wait_s"]) == ("llm_attempt", "server", 2, 0.123457)
    assert (json.loads(good[2])["wait_s"], json.loads(call[2])["event"]) == (None, "llm_call")
    assert events == [("warning", "llm_attempt", "server"), ("info", "llm_attempt", None)]


def test_attempts_are_counted_by_operation_target_and_cause():
    """A good attempt has no cause; a second hook for the same registry is refused and says what to do."""
    registry = CollectorRegistry()
    hook = prometheus_attempts(registry)
    for row in (ATTEMPT, ATTEMPT, GOOD):
        hook(row)

    def count(target, cause):
        labels = {"operation": "chat", "target": target, "cause": cause}
        return registry.get_sample_value("llm_attempt_duration_seconds_count", labels)

    assert (count("eu", "server"), count("", ""), count("eu", "")) == (2, 1, None)
    with pytest.raises(ValueError, match="make one hook"):
        prometheus_attempts(registry)


def test_an_attempt_is_a_span_with_its_cause():
    """By the conventions: the status, how often it was sent again, and the class of the error."""
    spans, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    for row in (ATTEMPT, GOOD):
        opentelemetry_attempts(tracing)(row)
    failed, good = spans.get_finished_spans()
    assert failed.name == "chat attempt"
    assert failed.attributes["http.request.resend_count"] == 1
    assert failed.attributes["http.response.status_code"] == 503
    assert (failed.attributes["error.type"], failed.attributes["tailrace.target"]) == ("server", "eu")
    assert (failed.end_time - failed.start_time) / 1e9 == pytest.approx(0.5)
    assert not failed.status.is_ok
    assert {"error.type", "http.request.resend_count", "tailrace.wait_s"}.isdisjoint(good.attributes)
    assert good.status.is_ok or good.status.status_code.name == "UNSET"
