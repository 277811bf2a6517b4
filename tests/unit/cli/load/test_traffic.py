"""Options of `tailrace load` as traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.cli.load.options import TrafficOptions
from tailrace.cli.load.traffic import arrivals_at, build
from tailrace.errors import ProfileError
from tailrace.load import Trace, Users


@pytest.mark.parametrize("shape", ["constant", "poisson", "gamma", "ramp", "steps", "burst", "on-off"])
def test_every_shape_becomes_a_schedule(shape: str):
    """Each name on the command line is an open loop of the requested duration."""
    traffic = build(TrafficOptions(rate=50, duration=20, arrivals=shape))
    assert traffic.loop == "open"
    assert traffic.arrivals.duration_s == pytest.approx(20)


def test_users_and_traces():
    """`--users` is a closed loop, `--trace` a recorded one; both at once contradict each other."""
    assert isinstance(build(TrafficOptions(users=3)).arrivals, Users)
    assert isinstance(build(TrafficOptions(trace=Path("a.csv"), speed=60)).arrivals, Trace)
    with pytest.raises(ProfileError, match="one of them"):
        build(TrafficOptions(users=3, trace=Path("a.csv")))


def test_another_rate():
    """A search asks for the same traffic at other rates."""
    assert len(arrivals_at(TrafficOptions(rate=10, duration=2), 40).offsets_ns()) == 80


def test_weights_and_lengths():
    """`a=1` is a weight, `512~0.8` a lognormal length."""
    workload = build(
        TrafficOptions(model=("a=1", "b=3"), tenant=("x",), prompt_tokens="512~0.8", max_tokens="7")
    ).workload
    assert [(model.name, model.weight) for model in workload.models] == [("a", 1), ("b", 3)]
    assert [(tenant.name, tenant.weight) for tenant in workload.tenants] == [("x", 1)]
    assert (workload.prompt_tokens.law, workload.prompt_tokens.mean) == ("lognormal", 512)
    assert workload.max_tokens is not None
    assert workload.max_tokens.mean == 7


def test_sessions():
    """`--sessions` makes the rate one of sessions, each with its turns and pauses."""
    options = TrafficOptions(sessions=True, turns="6~0.5", think_s=2.0, system_tokens=100)
    sessions = build(options).workload.sessions
    assert sessions is not None
    assert (sessions.turns.mean, sessions.turns.law, sessions.think_s, sessions.system_tokens) == (
        6,
        "lognormal",
        2,
        100,
    )
    assert build(TrafficOptions(turns="6")).workload.sessions is None


@pytest.mark.parametrize("odd", [{"prompt_tokens": "many"}, {"model": ("a=b",)}, {"repeat": 2.0}, {"timeout": -1.0}])
def test_refuses_what_makes_no_sense(odd: dict):
    """A wrong value is a ProfileError, before anything is sent."""
    with pytest.raises(ProfileError, match="load: "):
        build(TrafficOptions(**odd))
