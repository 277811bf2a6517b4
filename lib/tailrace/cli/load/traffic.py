"""The options of `tailrace load` turned into traffic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tailrace.cli.load.options import TrafficOptions
from tailrace.errors import ProfileError
from tailrace.load import Trace, Traffic, Weighted, Workload, arrivals
from tailrace.load.arrivals import Arrivals
from tailrace.load.bodies import Prompt
from tailrace.load.lengths import Lengths, fixed, lognormal
from tailrace.load.sessions import Sessions

STEPS: Final = 5
"""Rates of the shape "steps"."""


def build(options: TrafficOptions, prompts: tuple[Prompt, ...] = ()) -> Traffic:
    """Return the traffic, with these prompts if there are some; ProfileError when two options contradict each other."""
    if options.users and options.trace:
        raise ProfileError("--users is a closed loop and --trace an open one; give one of them")
    try:
        return Traffic(arrivals_at(options, options.rate), _workload(options, prompts), options.shards, options.timeout)
    except ValueError as error:
        raise ProfileError(f"load: {error}") from error


def arrivals_at(options: TrafficOptions, rate: float) -> Arrivals:
    """Return when the requests are due, at this rate where the options name none in another way."""
    top = rate * 2 if options.to_rate is None else options.to_rate
    duration_s = options.duration
    if options.users:
        return arrivals.users(options.users, duration_s, options.think_s, options.seed)
    if options.trace:
        return Trace(options.trace, options.speed, options.keep, duration_s=duration_s)
    if options.arrivals == "poisson":
        return arrivals.poisson(rate, duration_s, options.seed)
    if options.arrivals == "gamma":
        return arrivals.gamma(rate, duration_s, options.cv, options.seed)
    if options.arrivals == "ramp":
        return arrivals.ramp(rate, top, duration_s)
    if options.arrivals == "steps":
        rates = [rate + (top - rate) * step / (STEPS - 1) for step in range(STEPS)]
        return arrivals.steps(rates, duration_s / STEPS)
    if options.arrivals == "burst":
        return arrivals.burst(rate, top, duration_s * 0.4, duration_s * 0.2, duration_s)
    if options.arrivals == "on-off":
        cycles = max(1, round(duration_s / (options.on_s + options.off_s)))
        return arrivals.on_off(rate, options.on_s, options.off_s, cycles)
    return arrivals.constant(rate, duration_s)


def _workload(options: TrafficOptions, prompts: tuple[Prompt, ...]) -> Workload:
    models = _weighted(options.model)
    return Workload(
        model=models[0].name,
        endpoint=options.endpoint,
        prompts=prompts,
        repeat_share=options.repeat,
        stream_share=float(options.stream),
        seed=options.seed,
        temperature=options.temperature,
        prompt_tokens=_lengths(options.prompt_tokens),
        max_tokens=_lengths(options.max_tokens) if options.max_tokens else None,
        zipf=options.zipf,
        models=models if len(models) > 1 else (),
        tenants=_weighted(options.tenant),
        extra=dict(options.extra_body),
        sessions=_sessions(options) if options.sessions else None,
    )


def _sessions(options: TrafficOptions) -> Sessions:
    return Sessions(_lengths(options.turns), options.think_s, "exponential", options.system_tokens)


def _weighted(values: Sequence[str]) -> tuple[Weighted, ...]:
    """Read `name` or `name=weight`."""
    try:
        parts = [value.rpartition("=") for value in values]
        return tuple(Weighted(name, float(weight)) if name else Weighted(weight) for name, _, weight in parts)
    except ValueError:
        raise ValueError(f"found {' '.join(values)!r}, expected NAME or NAME=WEIGHT with a number above 0") from None


def _lengths(value: str) -> Lengths:
    """Read `512`, or `512~0.8`: lognormal with that median and that standard deviation of the logarithm."""
    median, _, sigma = value.partition("~")
    try:
        return lognormal(float(median), float(sigma)) if sigma else fixed(int(median))
    except ValueError:
        raise ValueError(f"found {value!r} tokens, expected N, or N~SIGMA (512~0.8)") from None
