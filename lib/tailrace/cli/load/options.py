"""The options of `tailrace load`, as they stand on the command line."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tailrace.objectives import Objectives

LAWS: Final = ("constant", "poisson", "gamma")
SHAPES: Final = ("ramp", "steps", "burst", "on-off")


@dataclass(frozen=True)
class TrafficOptions:
    """The requests to send, and their schedule."""

    rate: float = 10.0
    duration: float = 30.0
    arrivals: str = "constant"
    to_rate: float | None = None
    cv: float = 2.0
    on_s: float = 2.0
    off_s: float = 2.0
    users: int = 0
    think_s: float = 0.0
    trace: Path | None = None
    speed: float = 1.0
    keep: float = 1.0
    stream: bool = False
    model: tuple[str, ...] = ("gpt-4o-mini",)
    tenant: tuple[str, ...] = ()
    prompts: Path | None = None
    repeat: float = 0.0
    zipf: float = 0.0
    prompt_tokens: str = "16"
    max_tokens: str = ""
    temperature: float | None = None
    shards: int = 1
    timeout: float = 30.0
    seed: int = 0


@dataclass(frozen=True)
class LoadOptions:
    """The URL for the traffic, the limits for its records, and the outputs."""

    url: str
    traffic: TrafficOptions
    slo: Objectives
    """The limits of percentiles."""
    api_key_env: str = ""
    error_rate: float | None = None
    floor: bool = True
    out: Path | None = None
    as_json: bool = False

    @property
    def objectives(self) -> Objectives:
        """The limits of `--slo` and `--error-rate`."""
        return replace(self.slo, error_rate=self.error_rate)
