"""The objectives of a profile, with every key and limit checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import Field, field_validator, model_validator

from tailrace import percentiles
from tailrace.objectives import MEASURES, Goodput, Objectives
from tailrace.profile.section import ProfileSection, Share

Milliseconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LimitsMs = dict[str, Milliseconds]
DEFAULT_LATENCY_MS: Final[Mapping[str, float]] = {"p95": 500.0, "p99": 1_000.0}


class GoodputLimits(ProfileSection):
    """The share of requests that has to be good: to succeed within every one of the limits, in ms."""

    share: Annotated[float, Field(gt=0, le=1)]
    latency_ms: Milliseconds | None = None
    ttft_ms: Milliseconds | None = None
    tpot_ms: Milliseconds | None = None

    @model_validator(mode="after")
    def _limited(self) -> Self:
        self.objective  # noqa: B018  refuses a share without limits
        return self

    @property
    def objective(self) -> Goodput:
        return Goodput(self.share, self.latency_ms, self.ttft_ms, self.tpot_ms)


class Slo(ProfileSection):
    """The service-level objectives: what the verdict judges. Without any limit of time, latency has default ones."""

    latency_ms: LimitsMs = Field(default_factory=dict)
    """Of the whole answer, from the intended start, by percentile."""
    ttft_ms: LimitsMs = Field(default_factory=dict)
    """Time to first token of streams, from the intended start."""
    tpot_ms: LimitsMs = Field(default_factory=dict)
    """Time per output token of streams, after the first."""
    itl_ms: LimitsMs = Field(default_factory=dict)
    """Gaps between the tokens of streams."""
    error_rate: Share = 0.001
    goodput: GoodputLimits | None = None
    apdex_ms: Milliseconds = 250.0

    @property
    def objectives(self) -> Objectives:
        """The limits that a run is judged by."""
        return Objectives(
            latency_ms=self.latency_ms,
            ttft_ms=self.ttft_ms,
            tpot_ms=self.tpot_ms,
            itl_ms=self.itl_ms,
            error_rate=self.error_rate,
            goodput=self.goodput.objective if self.goodput else None,
        )

    @model_validator(mode="before")
    @classmethod
    def _written(cls, section: Any) -> Any:
        """Refuse the key of before there were tokens, and fill in the default limits where there are none."""
        if not isinstance(section, dict):
            return section
        if "percentiles_ms" in section:
            limits = yaml.safe_dump(section["percentiles_ms"], default_flow_style=True).strip().removesuffix("...")
            raise ValueError(f"percentiles_ms is called latency_ms now; write latency_ms: {limits.strip()}")
        limited = {f"{measure}_ms" for measure in MEASURES} | {"goodput"}
        return section if limited & section.keys() else {**section, "latency_ms": dict(DEFAULT_LATENCY_MS)}

    @field_validator("latency_ms", "ttft_ms", "tpot_ms", "itl_ms")
    @classmethod
    def _percentiles(cls, limits: dict[str, float]) -> dict[str, float]:
        for name in limits:
            percentiles.share(name)
        ordered = [limits[name] for name in sorted(limits, key=percentiles.share)]
        if ordered != sorted(ordered):
            raise ValueError("expected limits that rise with the percentile")
        return limits
