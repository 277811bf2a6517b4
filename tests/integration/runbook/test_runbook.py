"""The switch of the runbook keeps its promises, and the run fails when one is broken."""

import os
import signal
import time

import pytest

from depth import scaled

STEP = "03_blue_green_switch"
SHORT = {
    "rate_rps": 80,
    "head_start_s": scaled(1.0, 0.5),
    "tail_s": scaled(1.0, 0.5),
    "beside_s": scaled(8.0, 3.0),
}
BAKE = {"bake_s": scaled(2.0, 1.0)}


def test_a_switch_is_proved_and_nothing_is_left(project):
    """The step passes its checks, client and edge count the same requests, and no process is left."""
    project.profile("quick", steps={STEP: SHORT}, rollout=BAKE)
    status, output = project.run("run", "--profile", "quick", "--only", STEP)
    states = project.states(STEP)
    schedule = states.pop("the load generator kept its schedule")  # this machine may be busy
    assert set(states.values()) == {"PASS"}, output
    assert status == (0 if schedule == "PASS" else 2)
    switch = project.result(STEP)["switch"]
    assert switch["requests"] == switch["edge_requests"] > 200
    assert (switch["failed"], switch["unexplained"]) == (0, 0)
    assert project.run("down", "--profile", "quick")[0] == 0


def test_without_drain_requests_are_lost_and_the_step_fails(project):
    """The negative control: a switch that cuts the old colour off is noticed by its failed requests."""
    project.profile("careless", steps={STEP: SHORT | {"rate_rps": 150}}, rollout={**BAKE, "drain": False})
    status, output = project.run("run", "--profile", "careless", "--only", STEP)
    assert status == 1, output
    assert project.states(STEP)["no request failed"] == "FAIL"
    assert project.result(STEP)["switch"]["failed"] > 0


@pytest.mark.deep
def test_with_a_broken_readiness_path_the_step_fails(project):
    """A service that is never ready gets no traffic; the run fails and names the gate."""
    broken = {"health": {"ready": "/nowhere", "startup": "/healthz"}}
    project.profile("broken", service=broken, rollout={**BAKE, "ready_timeout_s": 2.0}, steps={STEP: SHORT})
    status, output = project.run("run", "--profile", "broken", "--only", STEP)
    assert status == 1
    assert "NotReady" in output
    assert "/nowhere" in output


def test_an_unknown_key_of_the_profile_starts_nothing(project):
    """It is refused with file and key, before there is a run."""
    project.profile("misspelt", rollout={"drain_timeuot_s": 3})
    status, output = project.run("run", "--profile", "misspelt")
    assert status == 3
    assert "misspelt.yaml" in output
    assert "drain_timeuot_s" in output
    assert not (project.root / "runs").exists()


def test_an_unknown_parameter_of_a_notebook_starts_nothing(project):
    """All notebooks' parameters are checked before the first kernel."""
    project.profile("misspelt", steps={"05_latency_report": {"window": 1}})
    status, output = project.run("run", "--profile", "misspelt")
    assert status == 3
    assert "05_latency_report" in output
    assert "window" in output


@pytest.mark.deep
def test_a_run_after_a_killed_one_cleans_up_and_passes(project):
    """After kill -9 of the runner in the middle of a switch, the next run ends what is left, says so, and passes."""
    project.profile("quick", steps={STEP: SHORT}, rollout=BAKE)
    process = project.start("run", "--profile", "quick", "--only", STEP)
    journal = project.root / ".tailrace" / "quick" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and '"baking"' in journal.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    status, output = project.run("run", "--profile", "quick", "--only", STEP)
    assert "was killed before its end" in output
    assert "stopped what was left" in output
    assert status in (0, 2), output
    assert project.result(STEP)["switch"]["failed"] == 0
