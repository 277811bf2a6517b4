"""Hooks: how they report unknown costs, tokens that were not billed, models and providers."""

import builtins
import importlib
import io
import json
import logging
import sys

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from tailrace.client import Call
from tailrace.client.hooks import json_log, structured
from tailrace.client.hooks.otel import opentelemetry
from tailrace.client.hooks.prometheus import prometheus
from tailrace.client.request import envelope
from tailrace.client.wire import Request

ROW = Call(
    operation="chat", model="gpt-4o-mini-2024-07-18", tenant="", outcome="ok", cache="miss", status=200, attempts=1,
    duration_s=0.5, backoff_s=0.0, queued_s=0.0, in_tok=7, out_tok=3, cached_tok=0, reasoning_tok=0, cost_usd=0.25,
    saved_usd=None, error_type="", streamed=False, attempts_s=(0.5,), detections=(), asked_model="gpt-4o-mini",
)  # fmt: skip


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
