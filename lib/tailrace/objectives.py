"""The objectives that a service is held to: limits of times, of failures, and of the share of good requests.

A measure is a time of a request: its whole latency, its time to first token (TTFT), its time per output token (TPOT),
or the gaps between its tokens (ITL, inter-token latency). `analysis.measures` computes each. A new kind of objective is
a field here, and its rule in `analysis.judgement`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tailrace import percentiles

MEASURES: Final = ("latency", "ttft", "tpot", "itl")
"""The measures that percentiles can be limited for."""
GOODPUT: Final = "goodput"
PER_REQUEST: Final = ("latency", "ttft", "tpot")
"""Those of which a request has one value, so that it can be called good; of gaps it has many."""


@dataclass(frozen=True)
class Goodput:
    """The share of all requests that has to be good: to succeed, within every one of the limits (in ms).

    Raises ValueError when the share is none, when a limit is not above 0, or when there is no limit.
    """

    share: float
    latency_ms: float | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share: found {self.share}, expected above 0 and at most 1")
        if not self.limits_ms:
            raise ValueError(f"found no limit, expected at least one of {_named(PER_REQUEST, '_ms')}")
        for measure, limit_ms in self.limits_ms.items():
            _require_positive(measure, limit_ms)

    @property
    def limits_ms(self) -> dict[str, float]:
        """The limits by measure, those that there are."""
        limits = {measure: getattr(self, f"{measure}_ms") for measure in PER_REQUEST}
        return {measure: float(limit) for measure, limit in limits.items() if limit is not None}


@dataclass(frozen=True)
class Objectives:
    """Limits of a service; a kind that is empty or None is not judged.

    Each `…_ms` maps percentiles ("p99") to limits. Latency and time to first token count from the intended start.
    """

    latency_ms: Mapping[str, float] = field(default_factory=dict)
    ttft_ms: Mapping[str, float] = field(default_factory=dict)
    tpot_ms: Mapping[str, float] = field(default_factory=dict)
    itl_ms: Mapping[str, float] = field(default_factory=dict)
    error_rate: float | None = None
    """The share of requests that may fail, 0 to 1."""
    goodput: Goodput | None = None

    @property
    def limits_ms(self) -> dict[str, Mapping[str, float]]:
        """The limits of percentiles by measure, those that there are."""
        limits = {measure: getattr(self, f"{measure}_ms") for measure in MEASURES}
        return {measure: by_percentile for measure, by_percentile in limits.items() if by_percentile}

    @property
    def all_limits_ms(self) -> frozenset[float]:
        """Every limit of a time, those of goodput included: the bounds that a histogram needs to tell them all."""
        limits = {limit for by_percentile in self.limits_ms.values() for limit in by_percentile.values()}
        return frozenset(limits | set(self.goodput.limits_ms.values() if self.goodput else ()))

    def up_to(self, percentile: str) -> Objectives:
        """Return these objectives for measurements that are too short for a higher percentile than this one.

        A measure that is limited by higher ones alone keeps its lowest.
        """
        kept: dict[str, Any] = {}
        for measure, limits in self.limits_ms.items():
            rising = sorted(limits, key=percentiles.share)
            low = [name for name in rising if percentiles.share(name) <= percentiles.share(percentile)] or rising[:1]
            kept[f"{measure}_ms"] = {name: limits[name] for name in low}
        return replace(self, **kept)

    @property
    def widest_ms(self) -> dict[str, float]:
        """The widest limit of each measure that has one."""
        return {measure: max(limits.values()) for measure, limits in self.limits_ms.items()}

    @property
    def good_ms(self) -> dict[str, float]:
        """What a request has to keep to be good: the limits of `goodput`, or else the widest of each measure."""
        if self.goodput:
            return self.goodput.limits_ms
        return {measure: limit for measure, limit in self.widest_ms.items() if measure in PER_REQUEST}


def read_limits(texts: Iterable[str]) -> Objectives:
    """Return the objectives that `texts` name: "p99=800" limits latency, "ttft_p95=300" the time to first token.

    Raises ValueError for anything else, and for a percentile that has a limit already.
    """
    limits: dict[str, dict[str, float]] = {measure: {} for measure in MEASURES}
    expected = f"a percentile and its limit in ms, like p99=800, or of {_named(MEASURES[1:])}: ttft_p95=300"
    for text in texts:
        name, _, value = text.partition("=")
        measure, _, percentile = name.strip().rpartition("_")
        try:
            of_measure, limit_ms = limits[measure or "latency"], float(value)
            percentiles.share(percentile)
        except (KeyError, ValueError):
            raise ValueError(f"{text}: expected {expected}") from None
        _require_positive(text, limit_ms)
        if percentile in of_measure:
            raise ValueError(f"{text}: {name} has a limit already; give one")
        of_measure[percentile] = limit_ms
    return Objectives(limits["latency"], limits["ttft"], limits["tpot"], limits["itl"])


def read_goodput(text: str) -> Goodput:
    """Return the objective that `text` names, like "ttft=300,tpot=40,share=0.95"; ValueError when it names none."""
    expected = f"limits in ms of {_named(PER_REQUEST)}, and a share, like ttft=300,tpot=40,share=0.95"
    values: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        if name not in (*PER_REQUEST, "share") or name in values:
            raise ValueError(f"{text}: found {part.strip()!r}, expected {expected}")
        try:
            values[name] = float(value)
        except ValueError:
            raise ValueError(f"{text}: found {part.strip()!r}, expected {expected}") from None
    if "share" not in values:
        raise ValueError(f"{text}: found no share, expected {expected}")
    try:
        return Goodput(values.pop("share"), **{f"{measure}_ms": limit for measure, limit in values.items()})
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None


def _require_positive(subject: str, limit_ms: float) -> None:
    if not 0 < limit_ms < math.inf:
        raise ValueError(f"{subject}: found {limit_ms}, expected milliseconds above 0")


def _named(names: Iterable[str], suffix: str = "") -> str:
    return ", ".join(f"{name}{suffix}" for name in names)
