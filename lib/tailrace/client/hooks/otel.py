"""Calls by the GenAI conventions of OpenTelemetry. Needs `opentelemetry-api`; without a provider it costs nothing.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as error:
    raise ImportError("opentelemetry(…) needs the package opentelemetry-api: install tailrace[otel]") from error

from tailrace.client.accounting import Call


def opentelemetry(
    tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
) -> Callable[[Call], None]:
    """Return a hook that records each call as a client span and in the two standard histograms."""
    tracer = trace.get_tracer("tailrace.client", tracer_provider=tracer_provider)
    meter = metrics.get_meter("tailrace.client", meter_provider=meter_provider)
    duration = meter.create_histogram("gen_ai.client.operation.duration", "s", "Duration of the call")
    tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens used")

    def hook(call: Call) -> None:
        common = {"gen_ai.operation.name": call.operation, "gen_ai.provider.name": call.provider}
        if call.asked_model:
            common["gen_ai.request.model"] = call.asked_model
        if call.model and call.outcome == "ok":
            common["gen_ai.response.model"] = call.model
        failed = {"error.type": call.error_type} if call.outcome == "error" else {}
        duration.record(call.duration_s, {**common, **failed})
        if call.billed and call.in_tok:
            tokens.record(call.in_tok, {**common, "gen_ai.token.type": "input"})
            tokens.record(call.out_tok, {**common, "gen_ai.token.type": "output"})
        ended_ns = time.time_ns()
        span = tracer.start_span(
            f"{call.operation} {call.asked_model}".strip(),
            kind=SpanKind.CLIENT,
            attributes={**common, **failed, **_details(call)},
            start_time=ended_ns - round(call.duration_s * 1e9),
        )
        for pattern in call.detections:
            span.add_event("tailrace.injection_pattern", {"pattern": pattern})
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended_ns)

    return hook


def _details(call: Call) -> dict[str, Any]:
    details: dict[str, Any] = {
        "gen_ai.usage.input_tokens": call.in_tok,
        "gen_ai.usage.output_tokens": call.out_tok,
        "http.response.status_code": call.status,
        "tailrace.cache": call.cache,
        "tailrace.attempts": call.attempts,
        "tailrace.backoff_s": call.backoff_s,
        "tailrace.tenant": call.tenant,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tok,
        "gen_ai.usage.reasoning.output_tokens": call.reasoning_tok,
    }
    known = {"tailrace.cost_usd": call.cost_usd, "tailrace.saved_usd": call.saved_usd}
    return details | {name: value for name, value in known.items() if value is not None}
