"""The page of faults for operators has one row for each tested fault, in the words of the test's marker."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "runbook" / "procedures" / "faults.md"


def marked(source):
    """Return the arguments of each `pytest.mark.fault(…)` in a module."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [tuple(map(ast.literal_eval, call.args)) for call in calls if ast.unparse(call.func) == "pytest.mark.fault"]


FAULTS = [row for path in sorted((ROOT / "tests/integration/deploy").glob("*.py")) for row in marked(path.read_text())]


def rows(page):
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in page.splitlines() if line[:1] == "|"]


@pytest.mark.parametrize("fault", FAULTS, ids=[row[0] for row in FAULTS])
def test_a_fault_that_is_tested_has_its_row(fault):
    """The row names the fault, the traffic, the symptom and the remedy; the page says how to make it again."""
    assert fault in {row[:4] for row in rows(PAGE.read_text())}


def test_every_row_held_when_the_page_was_made():
    """Each test passed as often as it ran, and no row belongs to a test that is gone."""
    made = rows(PAGE.read_text())[2:]
    assert [row for row in made if row[4].split(" of ")[0] != row[4].split(" of ")[1]] == []
    assert {row[:4] for row in made} == set(FAULTS)


def test_a_fault_in_other_words_would_be_missed():
    """Negative control: a row whose last cell differs does not match."""
    (fault,) = marked('@pytest.mark.fault("a", "b", "c", "d")\ndef test(): pass')
    assert fault == ("a", "b", "c", "d")
    assert fault not in rows("| a | b | c | other | 1 of 1 |")
