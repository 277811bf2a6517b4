"""The verdict has one rule: how checks make one, what is within a limit, and its word, sign and exit code."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace import verdict
from tailrace.checks import checklist
from tailrace.run.record import RunCheck, StepOutcome
from tailrace.runner import outcome
from tailrace.verdict import Check

LIB = Path(__file__).parents[2] / "lib" / "tailrace"


@pytest.mark.parametrize(("ok", "state"), [(True, "PASS"), (False, "FAIL"), (None, "INCONCLUSIVE")])
def test_a_check_says_yes_no_or_that_it_does_not_know(ok, state):
    """No data is never PASS."""
    assert Check("it works", ok, "1 of 1").document() == {
        "name": "it works",
        "ok": ok,
        "fact": "1 of 1",
        "state": state,
    }
    assert verdict.ok_of(state) is ok


def test_a_skipped_check_counts_neither_way():
    """It keeps the reason why there was nothing to check."""
    check = Check.skip("it works", "this profile has no such thing")
    assert (check.ok, check.state, check.fact) == (None, "SKIPPED", "this profile has no such thing")


@given(st.sampled_from([Check("a", True, "f"), Check("a", False, "f"), Check("a", None, "f"), Check.skip("a", "f")]))
def test_a_check_is_read_back_as_written(check):
    """A check survives its document, and the document says the same state with and without its word."""
    document = check.document()
    assert Check.read(document) == check
    assert verdict.state_of(document) == check.state
    del document["state"]
    assert verdict.state_of(document) == verdict.of_ok(check.ok)


@pytest.mark.parametrize("word", ["", "pass", "OK", None, 1, ["PASS"], "SKIPPED"])
def test_another_word_is_no_verdict(word):
    """What a file holds is a verdict only when it is one of the three words."""
    assert verdict.parse(word) is None


@pytest.mark.parametrize(
    ("states", "folded"),
    [
        ([], "INCONCLUSIVE"),
        (["SKIPPED"], "INCONCLUSIVE"),
        (["PASS", "SKIPPED"], "PASS"),
        (["PASS", "INCONCLUSIVE"], "INCONCLUSIVE"),
        (["INCONCLUSIVE", "PASS", "FAIL", "SKIPPED"], "FAIL"),
    ],
)
def test_folding(states, folded):
    """One failure decides, one open question withholds PASS, and nothing decided is not a PASS either."""
    assert verdict.fold(states) == folded


@given(st.lists(st.sampled_from(verdict.VERDICTS), min_size=1))
def test_all_who_fold_say_the_same(states):
    """Steps into a run, checks into a step and lines into a checklist: one rule."""
    checks = [Check(f"check {n}", verdict.ok_of(state), "f") for n, state in enumerate(states)]
    steps = [StepOutcome(name="s", verdict=state, duration_s=1.0) for state in states]
    passed = [StepOutcome(name="s", verdict="PASS", duration_s=1.0)]
    of_run = [RunCheck(name=check.name, ok=check.ok, fact=check.fact) for check in checks]
    assert {
        verdict.fold(states),
        checklist.ready(checks).state,
        outcome.overall(steps, []),
        outcome.overall(passed, of_run),
    } == {verdict.fold(states)}


@pytest.mark.parametrize(("low", "high", "word"), [(1, 2, "PASS"), (1, 3, "INCONCLUSIVE"), (3, 4, "FAIL")])
def test_an_interval_against_a_limit(low, high, word):
    """The whole interval within is PASS, the whole beyond FAIL, and one on both sides INCONCLUSIVE."""
    assert verdict.decide(low, high, 2) == word


def test_every_state_has_a_sign_and_every_verdict_an_exit_code():
    """Signs tell the states apart, and the exit status is that of `tailrace run`'s help text."""
    assert len(set(verdict.SIGNS.values())) == len(verdict.STATES) == 4
    assert dict(verdict.EXIT_CODES) == {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}


SIGNS = {"✓", "✗", "✕", "✔", "✘"}


def own_rules(source: str) -> list[str]:
    """Return what in `source` is the verdict's to say: a sign, or a table or tuple with all three words in it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SIGNS & set(node.value):
            found.append(node.value)
        if isinstance(node, ast.Dict | ast.Tuple | ast.List | ast.Set | ast.Subscript):
            words = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and type(one.value) is str}
            found += [ast.unparse(node)] if words >= set(verdict.VERDICTS) else []
    return found


def test_nobody_has_a_rule_of_their_own():
    """Signs, and tables of the three words, stand in `verdict` alone."""
    found = {str(path.relative_to(LIB)) for path in LIB.rglob("*.py") if own_rules(path.read_text())}
    assert found - {"report/figures/history.py"} == {"verdict.py"}  # there: a marker and a colour for each


def test_a_rule_of_their_own_is_seen():
    """The walk can fail."""
    assert own_rules('EXIT = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}')
    assert own_rules('print("✓")')
