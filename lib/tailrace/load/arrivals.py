"""When requests are due: pure schedules, which know nothing of answers.

Open loop. A schedule is a rate over time (linear pieces) and a law of the gaps. The arrivals are a process of
rate one, laid through the inverse of the cumulative rate, so that every law works with every shape:

    constant  every gap is 1              poisson  exponential gaps           gamma  gaps with the given CV

A closed loop (`users`) has no schedule: each user waits for the answer before the next request, and so sends less
when the service is slow. It is a type of its own, and every output names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Annotated, Literal, cast

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tailrace.load.traces import Trace

Offsets = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rate = Annotated[float, Field(ge=0, le=10_000_000, allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, le=7 * 86_400, allow_inf_nan=False)]
Law = Literal["constant", "poisson", "gamma"]
_CHUNK = 1_000_000
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class Piece:
    """A stretch of time over which the rate changes linearly from one value to another."""

    from_rps: Rate
    to_rps: Rate
    duration_s: Duration

    @property
    def expected(self) -> float:
        """The mean number of arrivals in it."""
        return (self.from_rps + self.to_rps) / 2 * self.duration_s


@dataclass(frozen=True, config=_STRICT)
class Schedule:
    """Arrivals that do not wait for answers."""

    name: str
    pieces: Annotated[tuple[Piece, ...], Field(min_length=1)]
    law: Law = "constant"
    cv: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Coefficient of variation of the gaps; for the law "gamma"."""
    seed: int = 0
    kind: Literal["schedule"] = field(default="schedule", kw_only=True)

    @property
    def duration_s(self) -> float:
        return sum(piece.duration_s for piece in self.pieces)

    def offsets_ns(self, shard: int = 0, shards: int = 1) -> Offsets:
        """Return when to send, in ns from the start, ascending: every `shards`-th arrival, from `shard`."""
        masses = self._masses(sum(piece.expected for piece in self.pieces))[shard::shards]
        offsets = np.empty(len(masses), dtype=np.int64)
        for at in range(0, len(masses), _CHUNK):  # in chunks, so that ten million need little more than 80 MB
            offsets[at : at + _CHUNK] = _inverse(self.pieces, masses[at : at + _CHUNK]) * 1e9
        return offsets

    def _masses(self, total: float) -> Floats:
        """Return the arrival times of the process of rate one, below `total`."""
        if self.law == "constant":
            return np.arange(int(np.ceil(total - 1e-9)), dtype=np.float64)
        # One gap more than arrivals, scaled to the total: for exponential gaps this is exactly the Poisson process
        # with a known number of arrivals (uniform order statistics), so that the mean rate is the requested one.
        shape = 1.0 if self.law == "poisson" else 1 / self.cv**2
        gaps = np.random.default_rng(self.seed).gamma(shape, 1 / shape, size=round(total) + 1)
        return np.cumsum(gaps)[:-1] * (total / max(float(gaps.sum()), 1e-300))


@dataclass(frozen=True, config=_STRICT)
class Users:
    """A closed loop: each of `count` users sends again `think_s` after its answer (exponential with a `seed`)."""

    count: Annotated[int, Field(gt=0, le=100_000)]
    duration_s: Duration
    think_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    seed: int | None = None
    kind: Literal["users"] = field(default="users", kw_only=True)

    @property
    def name(self) -> str:
        return f"closed loop, {self.count} users"


Arrivals = Annotated[Schedule | Users | Trace, Field(discriminator="kind")]


def _inverse(pieces: Sequence[Piece], masses: Floats) -> Floats:
    """Return when the cumulative rate reaches each of `masses`: per piece, the root of a quadratic."""
    bounds = np.concatenate(([0.0], np.cumsum([piece.expected for piece in pieces])))
    starts = np.concatenate(([0.0], np.cumsum([piece.duration_s for piece in pieces])))[:-1]
    which = np.clip(np.searchsorted(bounds, masses, side="right") - 1, 0, len(pieces) - 1)
    rate = np.array([piece.from_rps for piece in pieces])[which]
    slope = np.array([(piece.to_rps - piece.from_rps) / piece.duration_s for piece in pieces])[which]
    rest = masses - bounds[which]
    root = np.sqrt(np.maximum(rate**2 + 2 * slope * rest, 0))
    # 2m / (a + √(a² + 2sm)) is the same root as (√(…) - a) / s, but is defined for a slope of zero.
    below = rate + root
    within = np.divide(2 * rest, below, out=np.zeros_like(rest), where=below > 0)
    return cast(Floats, starts[which] + within)


def constant(rate_rps: float, duration_s: float) -> Schedule:
    """Return a schedule with equal gaps."""
    return Schedule("constant", (Piece(rate_rps, rate_rps, duration_s),))


def poisson(rate_rps: float, duration_s: float, seed: int = 0) -> Schedule:
    """Return the schedule of independent users: exponential gaps."""
    return Schedule("poisson", (Piece(rate_rps, rate_rps, duration_s),), "poisson", seed=seed)


def gamma(rate_rps: float, duration_s: float, cv: float, seed: int = 0) -> Schedule:
    """Return a schedule that is burstier (cv > 1) or steadier (cv < 1) than independent users."""
    return Schedule(f"gamma, cv {cv:g}", (Piece(rate_rps, rate_rps, duration_s),), "gamma", cv, seed)


def ramp(from_rps: float, to_rps: float, duration_s: float, law: Law = "constant", seed: int = 0) -> Schedule:
    """Return a schedule whose rate rises or falls linearly."""
    return Schedule("ramp", (Piece(from_rps, to_rps, duration_s),), law, seed=seed)


def steps(rates_rps: Sequence[float], each_s: float, law: Law = "constant", seed: int = 0) -> Schedule:
    """Return a schedule of one rate after the other, each held for `each_s`."""
    return Schedule("steps", tuple(Piece(rate, rate, each_s) for rate in rates_rps), law, seed=seed)


def burst(rate_rps: float, burst_rps: float, at_s: float, burst_s: float, duration_s: float) -> Schedule:
    """Return a steady rate with one burst in it."""
    before, after = Piece(rate_rps, rate_rps, at_s), Piece(rate_rps, rate_rps, duration_s - at_s - burst_s)
    return Schedule("burst", (before, Piece(burst_rps, burst_rps, burst_s), after))


def on_off(rate_rps: float, on_s: float, off_s: float, cycles: int, law: Law = "constant", seed: int = 0) -> Schedule:
    """Return traffic that comes and goes: `on_s` at the rate, `off_s` of silence."""
    return Schedule("on/off", (Piece(rate_rps, rate_rps, on_s), Piece(0, 0, off_s)) * cycles, law, seed=seed)


def users(count: int, duration_s: float, think_s: float = 0.0, seed: int | None = None) -> Users:
    """Return a closed loop; every output names it as such."""
    return Users(count, duration_s, think_s, seed)
