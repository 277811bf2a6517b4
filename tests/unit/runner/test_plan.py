"""The plan is ordered, validated, and refused by file and key."""

import json

import pytest

from tailrace.errors import ProfileError
from tailrace.runner import plan


@pytest.fixture
def written(tmp_path):
    """A project with notebooks a and b; call it with the text of plan.yaml."""
    (tmp_path / "runbook").mkdir()
    for name in "ab":
        (tmp_path / f"{name}.ipynb").touch()

    def write(text):
        (tmp_path / "runbook" / "plan.yaml").write_text(text)
        return tmp_path

    return write


def test_a_plan_keeps_its_order(written):
    """Steps run in the order in which they stand, and are called like their notebooks."""
    loaded = plan.load(written("steps: [{notebook: b.ipynb, timeout_s: 5}, {notebook: a.ipynb, always: true}]"))
    assert [(step.name, step.timeout_s, step.always) for step in loaded.steps] == [("b", 5, False), ("a", None, True)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "(top level)"),
        ("steps: []", "steps: Tuple should have at least 1 item"),
        ("steps: [{notebook: a.ipynb, timeout: 5}]", "steps.0.timeout: unknown key"),
        ("steps: [{notebook: a.ipynb, timeout_s: 0}]", "steps.0.timeout_s: Input should be greater than 0"),
        ("steps: [{title: x}]", "steps.0.notebook: Field required"),
        ("steps: [{notebook: a.ipynb}, {notebook: ./a.ipynb}]", "the same step stands twice: a"),
        ("steps: [{notebook: c.ipynb}]", "found c.ipynb, but there is no such file"),
        ("steps: [", "cannot be read as YAML"),
    ],
)
def test_a_bad_plan_is_refused(written, text, said):
    """Whatever is wrong is named by file and key."""
    root = written(text)
    with pytest.raises(ProfileError) as caught:
        plan.load(root)
    assert str(caught.value).startswith(str(root / "runbook" / "plan.yaml"))
    assert said in str(caught.value)


def test_a_part_of_a_plan_keeps_its_order(written):
    """`only` takes steps out in the plan's order, and refuses names that are not in it."""
    loaded = plan.load(written("steps: [{notebook: b.ipynb}, {notebook: a.ipynb}]"))
    assert [step.name for step in loaded.only(["a", "b"]).steps] == ["b", "a"]
    with pytest.raises(ProfileError, match="no step 'c'; steps: b, a"):
        loaded.only(["c"])


def test_a_step_without_a_title_has_its_notebooks_heading(written):
    """The first heading of the notebook is the title, unless the plan gives another."""
    root = written("steps: [{notebook: a.ipynb}, {notebook: b.ipynb, title: Mine}]")
    for name in "ab":
        (root / f"{name}.ipynb").write_text(json.dumps({"cells": [{"source": ["# Build it\n", "text"]}]}))
    assert [step.title for step in plan.load(root).steps] == ["Build it", "Mine"]
