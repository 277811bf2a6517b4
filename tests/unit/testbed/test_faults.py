"""Which faults a profile skips, and how long a fault is held: until the probes have reacted, within bounds."""

import time
from types import SimpleNamespace

import pytest

from tailrace import profile
from tailrace.deploy import Observation
from tailrace.testbed import faults


class Watch:
    """A watch whose probe "ready" turns red some time after the first look."""

    def __init__(self, red_after_s: float):
        self.targets = {"ready": ("", "/")}
        self.red_ns = time.perf_counter_ns() + int(red_after_s * 1e9)

    @property
    def rows(self):
        now_ns = time.perf_counter_ns()
        return [Observation(now_ns, "ready", now_ns < self.red_ns, 200, "")]


def waited_s(watch, expected, at_least_s, at_most_s) -> float:
    began_s = time.monotonic()
    faults.wait_until(watch, expected, at_least_s, at_most_s, every_s=0.005)
    return time.monotonic() - began_s


def test_a_fault_is_held_until_the_probe_has_reacted():
    """Not shorter, and no longer than it takes."""
    assert 0.1 <= waited_s(Watch(0.1), {"ready": False}, 0, 60) < 30


def test_a_fault_lasts_at_least_as_long_as_it_should():
    """A probe that is as expected at once has to stay so for a while."""
    assert waited_s(Watch(9), {"ready": True}, 0.1, 5) >= 0.1


def test_a_probe_that_never_reacts_is_waited_for_up_to_the_limit():
    """The check says afterwards that it did not."""
    assert 0.1 <= waited_s(Watch(60), {"ready": False}, 0, 0.1) < 30


def test_an_answer_from_before_the_fault_does_not_count():
    """Neither does a probe that is not watched."""
    old = SimpleNamespace(targets={"ready": ("", "/")}, rows=[Observation(0, "ready", False, 503, "")])
    assert waited_s(old, {"ready": False, "cached": True}, 0, 0.1) >= 0.1


@pytest.mark.parametrize(
    ("settings", "skipped"),
    [
        ({}, set()),
        ({"teardown": "never"}, {faults.PROCESS_HANG, faults.FAILS_WHILE_BAKING}),
        ({"provider": {"base_url": "http://127.0.0.1:9/v1"}}, {faults.PROVIDER_OUTAGE}),
        ({"service": {"command": ["serve"]}}, {faults.PROVIDER_OUTAGE}),
    ],
)
def test_what_must_not_be_broken_is_skipped(settings, skipped):
    """A deployment that is there to stay, a real provider, and a service whose reaction is its own affair."""
    assert set(faults.skipped(profile.Profile(name="test", **settings))) == skipped
