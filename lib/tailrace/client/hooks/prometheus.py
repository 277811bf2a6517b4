"""Calls and attempts as Prometheus metrics. Needs `prometheus-client`, which the extra `service` brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
except ImportError as error:
    raise ImportError("prometheus(…) needs the package prometheus-client: install tailrace[service]") from error

from tailrace.client.accounting import Attempt, Call

BUCKETS_S: Final = tuple(0.0001 * 2**n for n in range(20))
"""×2 from 100 µs to 52 s: a hit and a long answer in one histogram."""
MODELS: Final = 100
"""This many models have series of their own, because callers choose the names; further ones count as "other"."""


def prometheus(registry: CollectorRegistry = REGISTRY, prefix: str = "llm") -> Callable[[Call], None]:
    """Return a hook that counts calls in `registry`, for all clients of a process. The number of labels is bounded.

    Raises ValueError when `registry` has these metrics already.
    """
    try:
        return _counting(registry, prefix)
    except ValueError as error:
        raise _taken("prometheus", prefix, error) from None


def prometheus_attempts(registry: CollectorRegistry = REGISTRY, prefix: str = "llm") -> Callable[[Attempt], None]:
    """Return a hook that counts attempts in `registry` by operation, target and cause; the cause of a good one is "".

    Raises ValueError when `registry` has this metric already.
    """
    try:
        duration = Histogram(
            f"{prefix}_attempt_duration_seconds", "Duration of attempts, of a stream to its first bytes.",
            ("operation", "target", "cause"), buckets=BUCKETS_S, registry=registry,
        )  # fmt: skip
    except ValueError as error:
        raise _taken("prometheus_attempts", prefix, error) from None

    def hook(attempt: Attempt) -> None:
        duration.labels(attempt.operation, attempt.target, attempt.cause or "").observe(attempt.duration_s)

    return hook


def _taken(function: str, prefix: str, error: ValueError) -> ValueError:
    return ValueError(
        f"{function}(prefix={prefix!r}): {error}; make one hook and give it to every client, or choose a prefix"
    )


def _counting(registry: CollectorRegistry, prefix: str) -> Callable[[Call], None]:
    labels = ("operation", "model", "outcome", "cache")
    duration = Histogram(
        f"{prefix}_call_duration_seconds", "Duration of calls.", labels, buckets=BUCKETS_S, registry=registry
    )
    ttft = Histogram(
        f"{prefix}_time_to_first_token_seconds", "From the start of a call to the first token of its stream.",
        ("operation", "model"), buckets=BUCKETS_S, registry=registry,
    )  # fmt: skip
    tpot = Histogram(
        f"{prefix}_time_per_output_token_seconds", "Time per token of a stream, after its first.",
        ("operation", "model"), buckets=BUCKETS_S, registry=registry,
    )  # fmt: skip
    attempts = Counter(f"{prefix}_attempts_total", "Attempts made upstream.", ("operation", "model"), registry=registry)
    tokens = Counter(f"{prefix}_tokens_total", "Tokens billed.", ("model", "kind"), registry=registry)
    cost = Counter(f"{prefix}_cost_usd_total", "Cost, where it is known.", ("model",), registry=registry)
    saved = Counter(f"{prefix}_saved_usd_total", "What hits would have cost.", ("model",), registry=registry)
    unknown = Counter(f"{prefix}_cost_unknown_total", "Calls of unknown cost.", ("model",), registry=registry)

    detections = Counter(f"{prefix}_detections_total", "Injection patterns.", ("pattern",), registry=registry)
    models: set[str] = set()

    def hook(call: Call) -> None:
        if call.model not in models and len(models) < MODELS:
            models.add(call.model)
        model = call.model if call.model in models else "other"
        for pattern in call.detections:
            detections.labels(pattern).inc()
        duration.labels(call.operation, model, call.outcome, call.cache).observe(call.duration_s)
        if call.ttft_s is not None:
            ttft.labels(call.operation, model).observe(call.ttft_s)
        if call.tpot_s is not None:
            tpot.labels(call.operation, model).observe(call.tpot_s)
        attempts.labels(call.operation, model).inc(call.attempts)
        if call.cost_usd is None:
            unknown.labels(model).inc()
        else:
            cost.labels(model).inc(call.cost_usd)
        saved.labels(model).inc(call.saved_usd or 0.0)
        if call.billed:
            tokens.labels(model, "input").inc(call.in_tok)
            tokens.labels(model, "cached_input").inc(call.cached_tok)
            tokens.labels(model, "output").inc(call.out_tok)
            tokens.labels(model, "reasoning_output").inc(call.reasoning_tok)

    return hook
