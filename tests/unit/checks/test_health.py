"""The checks of the health probes: red when they should be, green when they should be, and recovered."""

import pandas as pd

from tailrace.checks import health
from tailrace.deploy import Observation

S = 1_000_000_000
MARKS = pd.DataFrame([(10 * S, 20 * S, "provider outage", "fault")], columns=["t_ns", "until_ns", "label", "kind"])


def rows(*reds: int, probe: str = "ready", until: int = 30) -> pd.DataFrame:
    """One probe a second, red in the seconds given."""
    seen = [(t * S, probe, t not in reds, 200, f"at {t}") for t in range(until)]
    return pd.DataFrame(seen, columns=health.COLUMNS)


def decide(seen: pd.DataFrame, expected: bool, fault: str = "provider outage") -> str:
    (check,) = health.probes(seen, MARKS, {fault: {"ready": expected}})
    return check.state


def test_a_probe_that_turns_red_and_recovers_passes():
    """Red one second into the fault, green one second after it: within the limits."""
    assert decide(rows(*range(11, 21)), health.RED) == "PASS"


def test_a_probe_that_stays_green_while_it_should_not_fails():
    """A page that says ok whatever happens is detected."""
    assert decide(rows(), health.RED) == "FAIL"


def test_a_probe_that_notices_too_late_fails():
    """Nine seconds are more than the limit of three."""
    assert decide(rows(*range(19, 21)), health.RED) == "FAIL"


def test_a_probe_that_never_recovers_fails():
    """A probe that stays red is of no use either."""
    assert decide(rows(*range(11, 30)), health.RED) == "FAIL"


def test_a_probe_that_cries_wolf_fails():
    """Live must not turn red when only the provider is gone: a restart would not help."""
    assert decide(rows(), health.GREEN) == "PASS"
    assert decide(rows(15), health.GREEN) == "FAIL"


def test_without_a_fault_or_without_probes_nothing_is_decided():
    """No data is never PASS."""
    assert decide(rows(), health.GREEN, fault="another fault") == "INCONCLUSIVE"
    assert decide(rows(until=5), health.GREEN) == "INCONCLUSIVE"


def test_a_probe_that_the_profile_lacks_is_skipped():
    """A service that is not ours has no cached answers to look at: that counts neither way."""
    assert decide(rows(probe="live"), health.GREEN) == "SKIPPED"


def started(ok: bool, after_s: float) -> Observation:
    return Observation(0, "startup", ok, 0, "/startup 200", after_s)


def test_a_slow_start_has_to_be_waited_for():
    """An instance that was given up, or whose startup check was green while it could not serve, fails."""
    assert health.slow_start(started(True, 3.4), held_s=3, limit_s=30).state == "PASS"
    assert health.slow_start(started(False, 30.0), held_s=3, limit_s=30).state == "FAIL"
    assert health.slow_start(started(True, 0.4), held_s=3, limit_s=30).state == "FAIL"


def test_a_service_whose_reaction_is_its_own_affair_has_only_to_recover():
    """Red or green during the fault, both will do; what is red for ever afterwards will not."""
    seen = [rows(), rows(*range(11, 21)), rows(*range(11, 30)), rows(*range(11, 28))]
    assert [decide(one, health.EITHER) for one in seen] == ["PASS", "PASS", "FAIL", "FAIL"]
