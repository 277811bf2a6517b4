"""The objectives that a service is held to. A new kind is a field here, and its rule in `analysis.judgement`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Objectives:
    """Limits of a service; a kind that is empty or None is not judged."""

    percentiles_ms: Mapping[str, float] = field(default_factory=dict)
    """Latency from the intended start, by percentile ("p99")."""
    error_rate: float | None = None
    """The share of requests that may fail, 0 to 1."""
