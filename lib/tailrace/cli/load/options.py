"""What the command line asks for, as traffic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tailrace.errors import ProfileError
from tailrace.load import Trace, Traffic, Weighted, Workload, arrivals, corpus
from tailrace.load.arrivals import Arrivals, Law
from tailrace.load.lengths import Lengths, fixed, lognormal

LAWS = ("constant", "poisson", "gamma")
SHAPES = ("ramp", "steps", "burst", "on-off")
_STEPS = 5


@dataclass(frozen=True)
class Order:
    """The options of `tailrace load`, checked against each other by `traffic`."""

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
    temperature: float = 0.0
    shards: int = 1
    timeout: float = 30.0
    seed: int = 0

    def traffic(self, rate_rps: float | None = None) -> Traffic:
        """The traffic; at another rate when one is given. ProfileError when two options contradict each other."""
        if self.users and self.trace:
            raise ProfileError("--users is a closed loop and --trace an open one; give one of them")
        try:
            when = self._arrivals(self.rate if rate_rps is None else rate_rps)
            return Traffic(when, self._workload(), self.shards, self.timeout)
        except ValueError as error:
            raise ProfileError(f"load: {error}") from error

    def _arrivals(self, rate: float) -> Arrivals:
        law: Law = "poisson" if self.arrivals == "poisson" else "constant"
        top = rate * 2 if self.to_rate is None else self.to_rate
        whole = self.duration
        if self.users:
            return arrivals.users(self.users, whole, self.think_s, self.seed)
        if self.trace:
            return Trace(self.trace, self.speed, self.keep, duration_s=whole)
        if self.arrivals == "gamma":
            return arrivals.gamma(rate, whole, self.cv, self.seed)
        if self.arrivals == "ramp":
            return arrivals.ramp(rate, top, whole)
        if self.arrivals == "steps":
            rates = [rate + (top - rate) * step / (_STEPS - 1) for step in range(_STEPS)]
            return arrivals.steps(rates, whole / _STEPS)
        if self.arrivals == "burst":
            return arrivals.burst(rate, top, whole * 0.4, whole * 0.2, whole)
        if self.arrivals == "on-off":
            return arrivals.on_off(rate, self.on_s, self.off_s, max(1, round(whole / (self.on_s + self.off_s))))
        return arrivals.poisson(rate, whole, self.seed) if law == "poisson" else arrivals.constant(rate, whole)

    def _workload(self) -> Workload:
        models = _weighted(self.model)
        return Workload(
            model=models[0].name,
            prompts=corpus.read(self.prompts) if self.prompts else (),
            repeat_share=self.repeat,
            stream_share=float(self.stream),
            seed=self.seed,
            temperature=self.temperature,
            prompt_tokens=_lengths(self.prompt_tokens),
            max_tokens=_lengths(self.max_tokens) if self.max_tokens else None,
            zipf=self.zipf,
            models=models if len(models) > 1 else (),
            tenants=_weighted(self.tenant),
        )


def _weighted(values: Sequence[str]) -> tuple[Weighted, ...]:
    """`name` or `name=weight`."""
    try:
        parts = [value.rpartition("=") for value in values]
        return tuple(Weighted(name, float(weight)) if name else Weighted(weight) for name, _, weight in parts)
    except ValueError:
        raise ValueError(f"found {' '.join(values)!r}, expected NAME or NAME=WEIGHT with a number above 0") from None


def _lengths(value: str) -> Lengths:
    """`512`, or `512~0.8`: lognormal with that median and that standard deviation of the logarithm."""
    median, _, sigma = value.partition("~")
    try:
        return lognormal(float(median), float(sigma)) if sigma else fixed(int(median))
    except ValueError:
        raise ValueError(f"found {value!r} tokens, expected N, or N~SIGMA (512~0.8)") from None
