"""Calls as Prometheus metrics. Needs `prometheus-client`, which the extra `service` brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram

from tailrace.client.accounting import Call

BUCKETS_S: Final = tuple(0.0001 * 2**n for n in range(20))
"""×2 from 100 µs to 52 s: a hit and a long answer in one histogram."""


def prometheus(registry: CollectorRegistry = REGISTRY, prefix: str = "llm") -> Callable[[Call], None]:
    """Return a hook that counts calls in `registry`. Labels are bounded: model names come from answers."""
    labels = ("operation", "model", "outcome", "cache")
    duration = Histogram(
        f"{prefix}_call_duration_seconds", "Duration of calls.", labels, buckets=BUCKETS_S, registry=registry
    )
    attempts = Counter(f"{prefix}_attempts_total", "Attempts made upstream.", ("operation", "model"), registry=registry)
    tokens = Counter(f"{prefix}_tokens_total", "Tokens billed.", ("model", "kind"), registry=registry)
    cost = Counter(f"{prefix}_cost_usd_total", "Cost, where it is known.", ("model",), registry=registry)
    saved = Counter(f"{prefix}_saved_usd_total", "What hits would have cost.", ("model",), registry=registry)
    unknown = Counter(f"{prefix}_cost_unknown_total", "Calls of unknown cost.", ("model",), registry=registry)

    def hook(call: Call) -> None:
        duration.labels(call.operation, call.model, call.outcome, call.cache).observe(call.duration_s)
        attempts.labels(call.operation, call.model).inc(call.attempts)
        if call.cost_usd is None:
            unknown.labels(call.model).inc()
        else:
            cost.labels(call.model).inc(call.cost_usd)
        saved.labels(call.model).inc(call.saved_usd or 0.0)
        if call.attempts:
            tokens.labels(call.model, "input").inc(call.in_tok)
            tokens.labels(call.model, "cached_input").inc(call.cached_tok)
            tokens.labels(call.model, "output").inc(call.out_tok)

    return hook
