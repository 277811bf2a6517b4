"""The users of a run send prompts of the planned length, as the service itself counts them."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tailrace import analysis, load, profile
from tailrace.testbed.stack import Stack

ROOT = Path(__file__).parents[3]


@pytest.fixture
def url():
    """The URL of a simulated provider, without its /v1; it adds a chat template's tokens to each prompt."""
    command = [sys.executable, "-m", "tailrace.simulator", "--port", "0", "--ttft-s", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield re.search(r"http://[\d.:]+", process.stdout.readline())[0]
        process.terminate()


def tokens(traffic, url, folder):
    with load.start(traffic, f"{url}/v1", folder) as load_run:
        pass
    return analysis.tokens(analysis.read(load_run.parts)).iloc[0]


def test_a_rehearsal_keeps_the_plan(url, tmp_path):
    """With what `mix` learned, counted and planned tokens agree to 2 %; without it, the chat template is too much."""
    stack = Stack(profile.load("local", ROOT, {}), ROOT, SimpleNamespace(url=url))
    users = load.arrivals.poisson(50.0, 1.0, 1)
    mix = stack.mix(stream_share=0.5)
    rehearsed = tokens(stack.traffic(users, "rehearsed", **mix), url, tmp_path / "a")
    plain = tokens(stack.traffic(users, "plain", stream_share=0.5), url, tmp_path / "b")
    assert rehearsed["n"] == plain["n"] > 0
    assert abs(rehearsed["in_deviation"]) <= 0.02
    assert plain["in_deviation"] > 0.02
