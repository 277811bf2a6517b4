"""The runbook's own promises, and that it notices when they are broken."""

import os
import signal
import time

import pytest

STEP = "03_blue_green_switch"
SHORT = {"rate_rps": 80, "head_start_s": 1.0, "tail_s": 1.0}
BAKE = {"bake_s": 2.0}

pytestmark = pytest.mark.slow


def test_a_switch_is_proved_and_nothing_is_left(project):
    """The step passes its checks about the switch, counts the same on both sides, and its processes are gone."""
    project.profile("quick", steps={STEP: SHORT}, rollout=BAKE)
    status, said = project.run("run", "--profile", "quick", "--only", STEP)
    states = project.states(STEP)
    schedule = states.pop("the load generator kept its schedule")  # this machine may be busy
    assert set(states.values()) == {"PASS"}, said
    assert status == (0 if schedule == "PASS" else 2)
    switch = project.result(STEP)["switch"]
    assert switch["requests"] == switch["edge_requests"] > 200
    assert (switch["failed"], switch["unexplained"]) == (0, 0)
    assert project.run("down", "--profile", "quick")[0] == 0


def test_without_drain_requests_are_lost_and_the_step_fails(project):
    """The negative control: a switch that cuts the old colour off is found out, by its failed requests."""
    project.profile("careless", steps={STEP: SHORT | {"rate_rps": 150}}, rollout={**BAKE, "drain": False})
    status, said = project.run("run", "--profile", "careless", "--only", STEP)
    assert status == 1, said
    assert project.states(STEP)["no request failed"] == "FAIL"
    assert project.result(STEP)["switch"]["failed"] > 0


def test_with_a_broken_readiness_path_the_step_fails(project):
    """A service that never says that it is ready gets no traffic; the run says which gate, and fails."""
    broken = {"health": {"ready": "/nowhere", "startup": "/healthz"}}
    project.profile("broken", service=broken, rollout={**BAKE, "ready_timeout_s": 2.0}, steps={STEP: SHORT})
    status, said = project.run("run", "--profile", "broken", "--only", STEP)
    assert status == 1
    assert "NotReady" in said
    assert "/nowhere" in said


def test_an_unknown_key_of_the_profile_starts_nothing(project):
    """Refused by file and key, before there is a run."""
    project.profile("misspelt", rollout={"drain_timeuot_s": 3})
    status, said = project.run("run", "--profile", "misspelt")
    assert status == 3
    assert "misspelt.yaml" in said
    assert "drain_timeuot_s" in said
    assert not (project.root / "runs").exists()


def test_an_unknown_parameter_of_a_notebook_starts_nothing(project):
    """All notebooks' parameters are checked before the first kernel."""
    project.profile("misspelt", steps={"05_latency_report": {"window": 1}})
    status, said = project.run("run", "--profile", "misspelt")
    assert status == 3
    assert "05_latency_report" in said
    assert "window" in said


def test_a_run_after_a_killed_one_cleans_up_and_passes(project):
    """kill -9 of the runner in the middle of a switch: the next run finds what was left, says so, and goes on."""
    project.profile("quick", steps={STEP: SHORT}, rollout=BAKE)
    process = project.start("run", "--profile", "quick", "--only", STEP)
    journal = project.root / ".tailrace" / "quick" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (journal.exists() and '"baking"' in journal.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    status, said = project.run("run", "--profile", "quick", "--only", STEP)
    assert "was killed before its end" in said
    assert "stopped what was left" in said
    assert status in (0, 2), said
    assert project.result(STEP)["switch"]["failed"] == 0
