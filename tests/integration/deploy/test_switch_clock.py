"""The wall clock of the controller steps back by an hour in the middle of a switch."""

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tailrace.host import waiting

SERVERS = Path(__file__).parents[1] / "servers"
HOUR_S = 3600

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None or not sys.platform.startswith("linux"),
    reason="no C compiler on this machine to make the clock that steps",
)


@pytest.fixture
def clock(tmp_path):
    """Return the environment of a process whose wall clock steps back once the second answer, a file, is there."""
    library, step = tmp_path / "clock.so", tmp_path / "step"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, SERVERS / "clock.c", "-ldl"], check=True)
    return {**os.environ, "LD_PRELOAD": str(library), "CLOCK_STEP": str(step)}, step


def wall_s(events):
    """How far the wall clock came from each event to the next."""
    times = [datetime.fromisoformat(event.at).timestamp() for event in events]
    return [later - earlier for earlier, later in pairwise(times)]


def holds(d, begun_ns):
    """The journal is in the order of what happened, and its durations are real."""
    events, entries = d.journal.entries(), d.history()
    assert [event.seq for event in events] == list(range(len(events)))
    assert [event.t_ns for event in events] == sorted(event.t_ns for event in events)
    assert [entry.what for entry in entries] == ["up", "switch", "switch"]
    assert all(entry.how == "done" for entry in entries)
    assert 0 < entries[1].duration_s < (time.perf_counter_ns() - begun_ns) / 1e9


@pytest.mark.fault(
    "the clock steps back by an hour",
    "the new colour, as without the step",
    "times of day in `history` go back; order and durations are right",
    "nothing",
)
@pytest.mark.parametrize("state", [pytest.param("ready", marks=pytest.mark.deep), "baking"])
def test_a_clock_that_steps_back_changes_neither_order_nor_durations(deployment, release, load, clock, state):
    """The controller's clock really steps: its own entries say so; deadlines, order and durations are monotonic."""
    environment, step = clock
    d = deployment(bake_s=1)
    d.up(release(d))
    # The negative control: until it steps, the wall clock goes forward.
    assert min(wall_s(d.journal.entries())) >= 0
    before, begun_ns = d.counters(), time.perf_counter_ns()
    command = [sys.executable, SERVERS / "controller.py", d.folder.parent, d.profile.model_dump_json(by_alias=True)]
    with load(d.url) as traffic:
        command = [*command, "switch", json.dumps(release(d, name="second").document())]
        controller = subprocess.Popen(command, env=environment)
        try:
            assert waiting.until(
                lambda: len(d.history()) == 2 and state in {e.state for e in d.journal.unfinished()}, 20
            )
            step.touch()
            assert controller.wait(60) == 0
        finally:
            controller.kill()
            controller.wait()
        stepped = wall_s(d.journal.entries())
        d.switch(release(d, name="third"))  # by a controller whose clock is right again
    assert -HOUR_S - 10 < min(stepped) < -HOUR_S + 10
    holds(d, begun_ns)
    assert traffic.failed == d.counters().since(before).failed == 0
    assert d.serving.colour == "blue"
    assert d.status().last.partition(" ")[2].startswith("done: blue serves")
