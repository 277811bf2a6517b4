"""What a model server says of itself: a Prometheus page, read by the names that each server uses.

Only lines with a name of `KNOWN`, or of the caller's own list, are parsed, so a page of ten thousand lines costs
no more than a short one. Series of one name are added up over their labels; of a share, the largest counts.

Sources: https://docs.vllm.ai/en/v0.32.0/usage/metrics/ and llama.cpp's tools/server/README.md.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from tailrace import percentiles

GAUGES: Final = ("running", "waiting", "cache_use")
"""Requests being answered, requests that wait for that, and the share of the key-value cache in use."""
TIMES: Final = ("ttft", "tpot", "itl", "latency")
"""Histograms of time to first token, per output token, between tokens, and of a whole request; in seconds."""
MEASURES: Final = (*GAUGES, *TIMES)
T = TypeVar("T")

KNOWN: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = types.MappingProxyType(
    {
        "tailrace": {
            "running": ("tailrace_requests_in_flight",),
            "ttft": ("tailrace_time_to_first_token_seconds",),
            "tpot": ("tailrace_time_per_output_token_seconds",),
            "itl": ("tailrace_inter_token_latency_seconds",),
            "latency": ("tailrace_request_duration_seconds",),
        },
        "vLLM": {
            "running": ("vllm:num_requests_running",),
            "waiting": ("vllm:num_requests_waiting",),
            "cache_use": ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
            "ttft": ("vllm:time_to_first_token_seconds",),
            "tpot": ("vllm:request_time_per_output_token_seconds",),
            # Older versions called it "per output token"; it held the gaps all the same.
            "itl": ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
            "latency": ("vllm:e2e_request_latency_seconds",),
        },
        "llama.cpp": {
            "running": ("llamacpp:requests_processing",),
            "waiting": ("llamacpp:requests_deferred",),
            "cache_use": ("llamacpp:kv_cache_usage_ratio",),
        },
    }
)
"""The names of each measure, by server; of several names the first that is there counts."""
LINES_LIMIT: Final = 5_000
"""Lines of known names on one page; a page with more of them is not read."""
MOST_COUNTED: Final = 1e15
"""A larger count or gauge, or one that is no number, is left out: sums of them stay numbers."""


class NotMetrics(ValueError):
    """The text is not a Prometheus page, or too large a one."""


@dataclass(frozen=True)
class Histogram:
    """Values counted below each bound, cumulative and rising: (bound in ms, count); the last bound is infinite."""

    buckets: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> int:
        return round(self.buckets[-1][1]) if self.buckets else 0

    def since(self, earlier: Histogram) -> Histogram:
        """Return what was counted after `earlier`; a server that was started in between counts from zero."""
        before = dict(earlier.buckets)
        later = tuple((bound, count - before.get(bound, 0.0)) for bound, count in self.buckets)
        return self if any(count < 0 for _, count in later) else Histogram(later)

    def slower(self, limit_ms: float) -> int:
        """Return how many were surely above `limit_ms`: those beyond the first bound that is not below it."""
        return self.count - round(next((count for bound, count in self.buckets if bound >= limit_ms), 0.0))

    def percentile_ms(self, name: str) -> tuple[float, float]:
        """Return the bounds of the bucket that holds the percentile; NaN without values."""
        if not self.count:
            return math.nan, math.nan
        rank, low = percentiles.rank(self.count, name), 0.0
        for bound, count in self.buckets:
            if count >= rank:
                return low, bound
            low = bound
        return low, math.inf


@dataclass(frozen=True)
class Reading:
    """One page: gauges and histograms by measure, those that it has. `why` says why it has none."""

    t_ns: int
    """When it was read (`time.perf_counter_ns`)."""
    gauges: Mapping[str, float] = field(default_factory=dict)
    times: Mapping[str, Histogram] = field(default_factory=dict)
    why: str = ""

    def since(self, earlier: Reading | None) -> Reading:
        """Return this reading with what its histograms counted after `earlier`."""
        before = earlier.times if earlier else {}
        times = {m: h.since(before[m]) if m in before else h for m, h in self.times.items()}
        return replace(self, times=times)


def parse(body: bytes, t_ns: int, names: Mapping[str, tuple[str, ...]] | None = None) -> Reading:
    """Return what the page says; `names` are further names by measure, which count before the known ones.

    Raises NotMetrics when it is no Prometheus page, or holds none of the names.
    """
    chosen = _names(names or {})
    lines = _lines(body, {name for by_measure in chosen.values() for name in by_measure})
    values, buckets = _samples(lines)
    gauges = {m: _first(chosen[m], values) for m in GAUGES}
    times = {m: _first(chosen[m], buckets) for m in TIMES}
    found = {m: max(v) if m == "cache_use" else sum(v) for m, v in gauges.items() if v}
    return Reading(t_ns, found, {m: _histogram(b) for m, b in times.items() if b})


def _names(own: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    known = {m: tuple(name for server in KNOWN.values() for name in server.get(m, ())) for m in MEASURES}
    return {m: (*own.get(m, ()), *known[m]) for m in MEASURES}


def _lines(body: bytes, names: Iterable[str]) -> list[str]:
    """Return the lines of the page that hold a sample of one of `names`."""
    text = body.decode("utf-8", "replace")
    starts = tuple(f"{name}{end}" for name in names for end in ("{", " ", "_bucket{"))
    lines = [line for line in text.splitlines() if line.startswith(starts)]
    if len(lines) > LINES_LIMIT:
        raise NotMetrics(f"{len(lines):,} lines of the known names (limit {LINES_LIMIT:,})")
    if not lines:
        first = next((line.strip() for line in text.splitlines() if line.strip()), "")
        if first.startswith(("# HELP ", "# TYPE ")) or not text.strip():
            raise NotMetrics("none of the known names is on the page; list yours under service.metric_names")
        raise NotMetrics(f"not a Prometheus page: it begins with {first[:40]!r}")
    return lines


def _samples(lines: list[str]) -> tuple[dict[str, list[float]], dict[str, dict[float, float]]]:
    """Return the values of each gauge, and the buckets of each histogram, all series of a name added up."""
    from prometheus_client.parser import text_string_to_metric_families  # only here: most callers parse no page

    values: dict[str, list[float]] = {}
    buckets: dict[str, dict[float, float]] = {}
    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                if sample.name.endswith("_bucket") and "le" in sample.labels:
                    own = buckets.setdefault(sample.name.removesuffix("_bucket"), {})
                    bound = float(sample.labels["le"])
                    if 0 <= sample.value <= MOST_COUNTED and not math.isnan(bound):
                        own[bound] = own.get(bound, 0.0) + sample.value
                elif abs(sample.value) <= MOST_COUNTED:
                    values.setdefault(sample.name, []).append(sample.value)
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # its parser raises any of them
        raise NotMetrics(f"not a Prometheus page: {error}") from None
    return values, buckets


def _first(names: tuple[str, ...], found: Mapping[str, T]) -> T | None:
    return next((found[name] for name in names if name in found), None)


def _histogram(buckets: Mapping[float, float]) -> Histogram:
    return Histogram(tuple((bound * 1e3, buckets[bound]) for bound in sorted(buckets)))
