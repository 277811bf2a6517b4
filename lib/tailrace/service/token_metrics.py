"""Histograms of the times of tokens, by model: to the first one, per one, and between the chunks that carry them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tailrace import credentials
from tailrace.client.accounting import Call

MODELS: Final = 50
"""This many models have series of their own, because callers choose the names; further ones count as "other"."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")


class TokenMetrics:
    """The times of the tokens of good streams. A stream from the cache, and one of another call, has none."""

    def __init__(self, registry: CollectorRegistry, bounds: tuple[float, ...]) -> None:
        self._first = Histogram(
            "tailrace_time_to_first_token_seconds",
            "From the start of a call to the first token of its stream, retries included.",
            ["model"], registry=registry, buckets=bounds)  # fmt: skip
        self._each = Histogram(
            "tailrace_time_per_output_token_seconds",
            "Of a stream, (last token - first token) / (tokens out - 1).",
            ["model"], registry=registry, buckets=bounds)  # fmt: skip
        self._gaps = GapHistogram(bounds)
        registry.register(self._gaps)
        self._models: set[str] = set()

    def observe(self, call: Call) -> None:
        """Observe the times of one call, if it was a stream and came to a good end."""
        if call.ttft_s is None or call.outcome != "ok":
            return
        model = self._label(call.model)
        self._first.labels(model).observe(call.ttft_s)
        if call.tpot_s is not None:
            self._each.labels(model).observe(call.tpot_s)
        self._gaps.observe(model, call.gaps_us)

    def _label(self, model: str) -> str:
        if model in self._models:
            return model
        plain = _NAME.fullmatch(model) and not any(True for _ in credentials.find(model))
        if not plain or len(self._models) >= MODELS:
            return "other"
        self._models.add(model)
        return model


class GapHistogram(Collector):
    """A histogram that takes all gaps of a stream at once: a tenth of the time of one call for each."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds_us = [round(bound * 1e6) for bound in bounds]
        self._names = [*map(floatToGoString, bounds), "+Inf"]
        self._counts: dict[str, list[int]] = {}
        self._sums_us: dict[str, int] = {}

    def observe(self, model: str, gaps_us: Iterable[int]) -> None:
        """Count each of `gaps_us`."""
        bounds, total = self._bounds_us, 0
        counts = self._counts.setdefault(model, [0] * len(self._names))
        for gap in gaps_us:
            counts[bisect_left(bounds, gap)] += 1
            total += gap
        self._sums_us[model] = self._sums_us.get(model, 0) + total

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Return the family, as the registry asks for it."""
        family = HistogramMetricFamily(
            "tailrace_inter_token_latency_seconds", "Between the chunks of a stream that carry tokens.",
            labels=["model"])  # fmt: skip
        for model, counts in self._counts.items():
            buckets, seen = [], 0
            for name, count in zip(self._names, counts, strict=True):
                seen += count
                buckets.append((name, float(seen)))
            family.add_metric([model], buckets, self._sums_us[model] / 1e6)
        yield family
