"""The service's metrics for Prometheus, in a registry of their own."""

from __future__ import annotations

import math
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from tailrace import __version__
from tailrace.client.accounting import Attempt, Call
from tailrace.client.limiters.spend import SpendLimiter
from tailrace.protocol.failures import BODY_FAILURES
from tailrace.service.settings import Settings
from tailrace.service.token_metrics import TokenMetrics

CONTENT_TYPE = CONTENT_TYPE_LATEST
LOOKUPS = ("hit", "miss", "coalesced", "stale", "bypass")
OUTCOMES = (*LOOKUPS, "error", "cancelled", "cut")


def buckets(slo_ms: tuple[float, ...]) -> tuple[float, ...]:
    """Return the bounds in seconds: ×2 from 100 µs to 52 s, and one at each limit of `slo_ms`."""
    doubling = {round(1e-4 * 2**power, 7) for power in range(20)}
    return tuple(sorted(doubling | {limit / 1e3 for limit in slo_ms}))


def failure_class(status: int, error_type: str) -> str:
    """Return the class of a failed request: those of `protocol.failures`, `timeout`, `http_NNN`, or `other`."""
    if error_type in BODY_FAILURES:
        return error_type
    if 400 <= status <= 599:
        return f"http_{status}"
    return "timeout" if error_type == "unanswered_timeout" else "other"


class Metrics:
    """All metrics of one service; labels have few values, all chosen by the service."""

    def __init__(self, settings: Settings) -> None:
        self.registry = registry = CollectorRegistry()
        self.duration = Histogram(
            "tailrace_request_duration_seconds",
            "From a forwarded request's arrival to the last byte of its response.",
            ["outcome"], registry=registry, buckets=buckets(settings.slo_ms))  # fmt: skip
        self.requests = Counter(
            "tailrace_requests", "Responses, by route and status.", ["route", "status"], registry=registry)  # fmt: skip
        self.failures = Counter(
            "tailrace_request_failures", "Forwarded requests that failed, by class: http_503, timeout, cut_stream, …",
            ["error_type"], registry=registry)  # fmt: skip
        self.tokens_s = TokenMetrics(registry, buckets(settings.slo_ms))
        self.attempts = Counter("tailrace_upstream_attempts", "Requests to the provider.", registry=registry)
        self.retries = Counter("tailrace_retries", "Attempts after the first of a call.", registry=registry)
        self.lookups = Counter(
            "tailrace_cache_lookups", "Cache look-ups, by result.", ["result"], registry=registry)  # fmt: skip
        self.tokens = Counter(
            "tailrace_tokens", "Tokens paid for; `cached` is part of `in`.", ["kind"], registry=registry)  # fmt: skip
        self.cost = Counter("tailrace_cost_usd", "Cost of calls whose price is known.", registry=registry)
        self.saved = Counter("tailrace_saved_usd", "What hits would have cost.", registry=registry)
        self.unpriced = Counter("tailrace_unpriced_calls", "Good calls whose cost is not known.", registry=registry)
        self.detections = Counter(
            "tailrace_detections", "Calls whose input looks like a known injection.", ["pattern"],
            registry=registry)  # fmt: skip
        self.fallbacks = Counter("tailrace_fallbacks", "Calls that a fallback answered.", registry=registry)
        self.by_target = Counter(
            "tailrace_target_attempts", "Attempts by target and cause of failure; the cause of a good one is empty.",
            ["target", "cause"], registry=registry)  # fmt: skip
        self.in_flight = Gauge("tailrace_requests_in_flight", "Requests being handled now.", registry=registry)
        self.ready = Gauge("tailrace_ready", "1 when the latest checks passed.", registry=registry)
        self.restarts = Gauge(
            "tailrace_restarts", "How often its supervisor started it again.", registry=registry)  # fmt: skip
        self.restarts.set(settings.restarts)
        self.draining = Gauge("tailrace_draining", "1 after SIGTERM.", registry=registry)
        self.loop_lag = Gauge("tailrace_loop_lag_seconds", "Lag of the event loop, last measured.", registry=registry)
        self.log_dropped = Gauge("tailrace_log_lines_dropped", "Log lines that were not written.", registry=registry)
        build = Gauge(
            "tailrace_build_info", "Always 1.", ["version", "release", "colour"], registry=registry)  # fmt: skip
        build.labels(__version__, settings.release, settings.colour).set(1)
        ProcessCollector(registry=registry)
        self._observe = {outcome: self.duration.labels(outcome) for outcome in OUTCOMES}
        self._lookups = {result: self.lookups.labels(result) for result in LOOKUPS}
        self._in, self._out, self._cached = (self.tokens.labels(kind) for kind in ("in", "out", "cached"))
        self._requests: dict[tuple[str, int], Counter] = {}

    def count_response(self, route: str, status: int) -> None:
        """Count one response; `route` is a template, never a caller's text."""
        child = self._requests.get((route, status))
        if child is None:
            child = self._requests[route, status] = self.requests.labels(route, status)
        child.inc()

    def observe_request(self, outcome: str, duration_s: float) -> None:
        """Observe one forwarded request."""
        self._observe[outcome if outcome in self._observe else "error"].observe(duration_s)

    def count_failure(self, status: int, error_type: str) -> None:
        """Count one forwarded request that failed; `error_type` may be any text, of which known classes count."""
        self.failures.labels(failure_class(status, error_type)).inc()

    def count_call(self, call: Call) -> None:
        """Count one call of the client; a cached response costs no tokens."""
        self._lookups[call.cache].inc()
        self.tokens_s.observe(call)
        if call.attempts:
            self.attempts.inc(call.attempts)
            self.retries.inc(call.attempts - 1)
        if call.billed:
            self._in.inc(call.in_tok)
            self._out.inc(call.out_tok)
            self._cached.inc(call.cached_tok)
            if call.cost_usd is not None:
                self.cost.inc(call.cost_usd)
            elif call.outcome == "ok":
                self.unpriced.inc()
        if call.saved_usd:
            self.saved.inc(call.saved_usd)
        if call.fallback and call.outcome == "ok":
            self.fallbacks.inc()
        for pattern in call.detections:
            self.detections.labels(pattern).inc()

    def count_attempt(self, attempt: Attempt) -> None:
        """Count one attempt; its target is named by the policy, never by a caller."""
        self.by_target.labels(attempt.target, attempt.cause or "").inc()

    def watch_budget(self, limiter: SpendLimiter) -> None:
        """Show the spend limit, and what is left of it; of a limit per tenant, what a caller without one has left."""
        budget = Gauge("tailrace_budget_usd", "The spend limit of a period.", registry=self.registry)
        left = Gauge("tailrace_budget_left_usd", "What is left of it, as last known here.", registry=self.registry)
        ends = Gauge("tailrace_budget_ends_in_seconds", "Until the next period; +Inf for ever.", registry=self.registry)
        budget.set(limiter.max_usd)
        left.set_function(limiter.left_usd)
        ends.set_function(lambda: math.inf if (left_s := limiter.resets_in_s()) is None else left_s)

    def watch_accounts(self, failures: Callable[[], int]) -> None:
        """Show how often accounting has failed; a call goes on without it."""
        gauge = Gauge(
            "tailrace_accounting_failures", "Calls or prices that were not accounted.", registry=self.registry
        )
        gauge.set_function(failures)

    def text(self) -> bytes:
        """Return all metrics in the exposition format."""
        return generate_latest(self.registry)
