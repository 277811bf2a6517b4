"""The plan keeps its order; an invalid one is refused with file and key."""

import json

import pytest

from tailrace.errors import ProfileError
from tailrace.runner import plan


@pytest.fixture
def project(tmp_path):
    """A project with notebooks a and b; call it with the text of plan.yaml."""
    (tmp_path / "runbook").mkdir()
    for name in "ab":
        (tmp_path / f"{name}.ipynb").touch()

    def write(text):
        (tmp_path / "runbook" / "plan.yaml").write_text(text)
        return tmp_path

    return write


def test_a_plan_keeps_its_order(project):
    """Steps run in the order of the file, and are named like their notebooks."""
    loaded = plan.load(project("steps: [{notebook: b.ipynb, timeout_s: 5}, {notebook: a.ipynb, always: true}]"))
    assert [(step.name, step.timeout_s, step.always) for step in loaded.steps] == [("b", 5, False), ("a", None, True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "(top level)"),
        ("steps: []", "steps: Tuple should have at least 1 item"),
        ("steps: [{notebook: a.ipynb, timeout: 5}]", "steps.0.timeout: unknown key"),
        ("steps: [{notebook: a.ipynb, timeout_s: 0}]", "steps.0.timeout_s: Input should be greater than 0"),
        ("steps: [{title: x}]", "steps.0.notebook: Field required"),
        ("steps: [{notebook: a.ipynb}, {notebook: ./a.ipynb}]", "the plan has the same step twice: a"),
        ("steps: [{notebook: c.ipynb}]", "found c.ipynb, but there is no such file"),
        ("steps: [", "cannot be read as YAML"),
    ],
)
def test_a_bad_plan_is_refused(project, text, message):
    """The message names file and key."""
    root = project(text)
    with pytest.raises(ProfileError) as caught:
        plan.load(root)
    assert str(caught.value).startswith(str(root / "runbook" / "plan.yaml"))
    assert message in str(caught.value)


def test_a_part_of_a_plan_keeps_its_order(project):
    """`only` selects steps in the order of the plan, and refuses unknown names."""
    loaded = plan.load(project("steps: [{notebook: b.ipynb}, {notebook: a.ipynb}]"))
    assert [step.name for step in loaded.only(["a", "b"]).steps] == ["b", "a"]
    with pytest.raises(ProfileError, match="no step 'c'; steps: b, a"):
        loaded.only(["c"])


def test_the_default_title_is_the_heading_of_the_notebook(project):
    """The first heading of the notebook is the title, unless the plan has one."""
    root = project("steps: [{notebook: a.ipynb}, {notebook: b.ipynb, title: Mine}]")
    for name in "ab":
        (root / f"{name}.ipynb").write_text(json.dumps({"cells": [{"source": ["# Build it\n", "text"]}]}))
    assert [step.title for step in plan.load(root).steps] == ["Build it", "Mine"]
