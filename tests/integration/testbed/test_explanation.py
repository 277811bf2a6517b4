"""A switch that fails for a reason that is planted: what was sampled beside the load names it."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pandas as pd
import pytest

from tailrace import analysis, load
from tailrace.checks import explanation
from tailrace.checks.causes import LARGE_PART, MOST
from tailrace.checks.circumstances import STATES, Circumstances, Limits, Samples
from tailrace.profile import Profile
from tailrace.testbed import candidates, observers, stack

SERVER = Path(__file__).parents[1] / "servers" / "misbehaving.py"
BURN_S = 10.0

pytestmark = pytest.mark.alone


@pytest.fixture
def bed(tmp_path):
    """The small server of the tests behind an edge, and its release as it is."""
    command = [sys.executable, str(SERVER), "--host", "{host}", "--port", "{port}"]
    service = {"command": command, "smoke": [{"path": "/"}], "metrics": "/metrics"}
    rollout = {"bake_s": 0.5, "settle_s": 0, "start_timeout_s": 60, "warmup": {"min_requests": 1, "max_requests": 2}}
    profile = Profile.model_validate({"name": "test", "service": service, "rollout": rollout})
    bed = stack.Stack.open(profile, tmp_path)
    release = bed.deployment.build(SERVER.parent)
    bed.deployment.up(release)
    yield bed, release
    bed.deployment.down()


def switched(bed, release, out, freeze, **options):
    """Switch to the release with these options of the server, under load; return its records and what was sampled."""
    extra = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    candidate = candidates.good(bed, release.configured([*release.command, *extra]))
    old = bed.deployment.serving
    frozen = {"locked": lambda: bed.deployment.engine.freeze(old), "ready": lambda: bed.deployment.engine.thaw(old)}
    candidate = dataclasses.replace(candidate, on=frozen if freeze else {})
    traffic = bed.traffic(load.arrivals.constant(20, 120), "switch")
    run = load.prepare(traffic, bed.url, out)
    run.beside = observers.beside(bed)
    with run:
        outcome = candidates.deploy(bed, candidate)
        run.stop()
    read = {name: pd.concat([pd.read_parquet(p) for p in out.glob(f"{name}-*.parquet")]) for name in
            ("machine", "edge", "server")}  # fmt: skip
    states = pd.DataFrame([(t_ns, state, fact) for state, t_ns, fact in outcome.states], columns=STATES)
    return analysis.read(out), Samples(states, **read)


def test_a_start_that_takes_the_processors_is_named(bed, tmp_path):
    """Blue hangs while green's start burns every core: the text names states and health, and who burned them.

    The edge refuses nobody in blue's place: requests wait, until their senders give up.
    """
    records, samples = switched(*bed, tmp_path / "out", freeze=True, burn_s=BURN_S)
    text = explanation.failures(records, samples, Limits("process")).text
    assert "× timeout seen by the client, all between " in text
    assert "no healthy upstream" not in text
    assert "the edge's health check of blue failed for" in text
    # Where others want the processors as well, nobody took them: the samples say which of the two it was.
    records_of = Circumstances(records, records[records["outcome"] == "error"], samples)
    name, used = next(iter(records_of.groups().items()))
    taken = name.startswith("green") and used >= LARGE_PART * records_of.cores and records_of.busy() >= MOST
    assert ("the new release's start took the old one's processor" in text) == taken
    assert {"blue", "green"} <= set(samples.server["colour"])


def test_a_switch_that_loses_nothing_needs_no_explanation(bed, tmp_path):
    """The negative control: the same server, nothing frozen and nothing burned."""
    records, samples = switched(*bed, tmp_path / "out", freeze=False)
    assert len(records) > 5
    assert explanation.failures(records, samples, Limits("process")) is None
    assert len(samples.machine) > 1
