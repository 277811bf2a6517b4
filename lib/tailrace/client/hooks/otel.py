"""Calls and attempts by the GenAI conventions of OpenTelemetry. Needs `opentelemetry-api`; free without a provider.

https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-metrics.md. A chunk here is one that
carries a token: a role, a comment or usage is not output.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as error:
    raise ImportError("opentelemetry(…) needs the package opentelemetry-api: install tailrace[otel]") from error

from tailrace.client.accounting import Attempt, Call

SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
"""The bounds that the conventions advise for durations: ×2 from 10 ms to 82 s."""
TOKENS: Final = tuple(4.0**n for n in range(14))
"""The same for counts of tokens: ×4 from 1 to 67 million."""
_MOST_GAPS: Final = 4096
"""Of a longer stream, evenly spaced gaps are recorded: its caller waits meanwhile."""


def opentelemetry(
    tracer_provider: trace.TracerProvider | None = None, meter_provider: metrics.MeterProvider | None = None
) -> Callable[[Call], None]:
    """Return a hook that records each call as a client span and in the four standard histograms."""
    tracer = trace.get_tracer("tailrace.client", tracer_provider=tracer_provider)
    meter = metrics.get_meter("tailrace.client", meter_provider=meter_provider)

    def seconds(name: str, description: str) -> metrics.Histogram:
        return meter.create_histogram(
            f"gen_ai.client.operation.{name}", "s", description, explicit_bucket_boundaries_advisory=SECONDS
        )

    duration = seconds("duration", "Duration of the call")
    first_chunk = seconds("time_to_first_chunk", "From the start of the call to the first chunk with a token")
    between_chunks = seconds("time_per_output_chunk", "From one chunk with a token to the next")
    tokens = meter.create_histogram(
        "gen_ai.client.token.usage", "{token}", "Tokens used", explicit_bucket_boundaries_advisory=TOKENS
    )

    def hook(call: Call) -> None:
        common = {"gen_ai.operation.name": call.operation, "gen_ai.provider.name": call.provider}
        if call.asked_model:
            common["gen_ai.request.model"] = call.asked_model
        if call.model and call.outcome == "ok":
            common["gen_ai.response.model"] = call.model
        failed = {"error.type": call.error_type} if call.outcome == "error" else {}
        duration.record(call.duration_s, {**common, **failed})
        if call.ttft_s is not None:
            first_chunk.record(call.ttft_s, common)
        for gap_us in call.gaps_us[:: len(call.gaps_us) // _MOST_GAPS + 1]:
            between_chunks.record(gap_us / 1e6, common)
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


def opentelemetry_attempts(tracer_provider: trace.TracerProvider | None = None) -> Callable[[Attempt], None]:
    """Return a hook that records each attempt as a client span, by the conventions for HTTP and GenAI."""
    tracer = trace.get_tracer("tailrace.client", tracer_provider=tracer_provider)

    def hook(attempt: Attempt) -> None:
        ended_ns = time.time_ns()
        optional: dict[str, Any] = {
            "http.request.resend_count": attempt.number - 1,
            "http.response.status_code": attempt.status,
            "tailrace.target": attempt.target,
            "error.type": attempt.cause,
            "gen_ai.request.model": attempt.model,
        }
        span = tracer.start_span(
            f"{attempt.operation} attempt",
            kind=SpanKind.CLIENT,
            attributes={
                "gen_ai.operation.name": attempt.operation,
                "gen_ai.provider.name": attempt.provider,
                **{name: value for name, value in optional.items() if value},
            },
            start_time=ended_ns - round(attempt.duration_s * 1e9),
        )
        if attempt.wait_s is not None:
            span.set_attribute("tailrace.wait_s", attempt.wait_s)
        if attempt.cause is not None:
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
    known = {
        "tailrace.cost_usd": call.cost_usd,
        "tailrace.saved_usd": call.saved_usd,
        "gen_ai.response.time_to_first_chunk": call.ttft_s,
        "tailrace.time_per_output_token_s": call.tpot_s,
    }
    return details | {name: value for name, value in known.items() if value is not None}
