"""Which fault applies to which request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailrace.simulator.faults import Fault, FaultScript


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def met(script, count, *, inference=True, stream=False):
    """Return one letter per request: the first of the fault's kind, or a dot for none."""
    faults = [script.next(inference=inference, stream=stream) for _ in range(count)]
    return "".join(fault.kind[0] if fault else "." for fault in faults)


def script(*faults, seed=1, clock=None):
    return FaultScript([Fault(**fault) for fault in faults], seed, clock or Clock())


def test_a_fault_without_conditions_applies_to_every_request():
    """Neither probability nor sequence: every request; no fault: none."""
    assert met(script({"kind": "quota"}), 3) == "qqq"
    assert met(script(), 3) == "..."


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sequence": "001"}, "..q..q"),
        ({"sequence": [1, 0]}, "q.q.q."),
        ({"after": 2}, "..qqqq"),
        ({"count": 2}, "qq...."),
        ({"after": 1, "count": 3}, ".qqq.."),
        ({"after": 1, "sequence": "10", "count": 2}, ".q.q.."),
        ({"probability": 0}, "......"),
        ({"probability": 1}, "qqqqqq"),
    ],
)
def test_sequence_after_and_count_choose_the_requests(fields, expected):
    """The pattern begins after the skipped requests, repeats, and ends after its count."""
    assert met(script({"kind": "quota", **fields}), 6) == expected


@given(st.floats(0, 1), st.integers())
def test_probability_repeats_with_its_seed(probability, seed):
    """The same seed chooses the same requests."""
    fault = {"kind": "quota", "probability": probability}
    assert met(script(fault, seed=seed), 50) == met(script(fault, seed=seed), 50)


def test_a_probability_is_kept():
    """It applies to about 3 in 10 of 10,000 requests: five standard deviations of a binomial are 230."""
    assert met(script({"kind": "quota", "probability": 0.3}), 10_000).count("q") == pytest.approx(3_000, abs=230)


def test_setting_the_same_faults_again_restarts_their_sequence():
    """A fault that is set again has no counts, and draws the same numbers."""
    faults = script({"kind": "quota", "probability": 0.5})
    before = met(faults, 20)
    faults.set([rule.fault for rule in faults.rules])
    assert met(faults, 20) == before


def test_a_duration_runs_from_when_the_fault_was_set():
    """A fault with a duration ends at that time."""
    clock = Clock()
    faults = script({"kind": "outage", "duration_s": 3}, clock=clock)
    clock.now = 2.9
    assert met(faults, 2) == "oo"
    clock.now = 3.0
    assert met(faults, 2) == ".."
    assert not faults.rules[0].active


def test_a_duration_with_after_runs_from_the_last_skipped_request():
    """However late that request comes, the fault lasts its full duration after it."""
    clock = Clock()
    faults = script({"kind": "outage", "duration_s": 3, "after": 2}, clock=clock)
    clock.now = 100.0
    assert met(faults, 3) == "..o"
    clock.now = 102.9
    assert met(faults, 1) == "o"
    clock.now = 103.0
    assert met(faults, 1) == "."


def test_the_first_fault_wins_and_all_count_the_request():
    """Of two faults on one request the first wins; the second has seen it, and does not count it as met."""
    faults = script({"kind": "quota", "sequence": "10"}, {"kind": "hang", "count": 1})
    assert met(faults, 4) == "qhq."
    assert [(rule.seen, rule.met) for rule in faults.rules] == [(4, 2), (4, 1)]


def test_stream_faults_ignore_requests_that_are_not_streamed():
    """A stream's fault neither applies to nor counts them."""
    faults = script({"kind": "cut_stream", "after": 1})
    assert met(faults, 5) == "....."
    assert met(faults, 2, stream=True) == ".c"


def test_only_an_outage_applies_to_the_list_of_models():
    """Faults are for calls of a model; an outage is for every request."""
    assert met(script({"kind": "error500"}), 2, inference=False) == ".."
    assert met(script({"kind": "outage"}), 2, inference=False) == "oo"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "flood"}, "kind"),
        ({"kind": "quota", "probability": 1.1}, "probability"),
        ({"kind": "quota", "probability": 0.5, "sequence": "1"}, "exclude each other"),
        ({"kind": "quota", "sequence": "000"}, "never applies"),
        ({"kind": "quota", "sequence": ""}, "never applies"),
        ({"kind": "quota", "sequence": "12"}, "sequence"),
        ({"kind": "quota", "count": 0}, "count"),
        ({"kind": "quota", "after": -1}, "after"),
        ({"kind": "quota", "often": 1}, "often"),
        ({"kind": "quota", "retry_after_s": 1}, "only for error503, outage, rate_limit"),
        ({"kind": "reset", "hold_s": 1}, "only for hang"),
        ({"kind": "slow", "delay_s": float("nan")}, "delay_s"),
    ],
)
def test_an_invalid_fault_is_refused(fields, message):
    """The error names an unknown kind or field, an impossible number, or a field of another kind."""
    with pytest.raises(ValidationError, match=message):
        Fault(**fields)


def test_delays_have_a_default_where_the_delay_is_the_fault():
    """slow and slow_stream have a default delay; the others have none."""
    waits = {kind: Fault(kind=kind).wait_s for kind in ("slow", "slow_stream", "error500")}
    assert waits == {"slow": 1.0, "slow_stream": 0.2, "error500": 0.0}
    assert Fault(kind="slow", delay_s=0).wait_s == 0
