"""A credential in the artefacts of a run fails the check, and is named by kind and file."""

from tailrace.checks import artefacts
from tailrace.run.leaks import Leak


def test_a_leak_fails_and_an_empty_run_decides_nothing():
    """No leak in some files passes; without a file nothing was read."""
    assert artefacts.no_credential([], files=55).state == "PASS"
    leaking = artefacts.no_credential([Leak("run.json", "an API key")], files=55)
    assert (leaking.state, leaking.fact) == ("FAIL", "55 files read: an API key in run.json")
    assert artefacts.no_credential([], files=0).state == "INCONCLUSIVE"
