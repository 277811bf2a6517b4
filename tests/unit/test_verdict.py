"""A check has four states, and only one of them is PASS."""

import pytest

from tailrace.verdict import Check


@pytest.mark.parametrize(("ok", "state"), [(True, "PASS"), (False, "FAIL"), (None, "INCONCLUSIVE")])
def test_a_check_says_yes_no_or_that_it_does_not_know(ok, state):
    """No data is never PASS."""
    assert Check("it works", ok, "1 of 1").document() == {
        "name": "it works",
        "ok": ok,
        "fact": "1 of 1",
        "state": state,
    }


def test_a_skipped_check_counts_neither_way():
    """It keeps the reason why there was nothing to check."""
    check = Check.skip("it works", "this profile has no such thing")
    assert (check.ok, check.state, check.fact) == (None, "SKIPPED", "this profile has no such thing")
