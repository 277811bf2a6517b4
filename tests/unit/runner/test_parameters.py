"""A parameters cell is a schema; every value of a profile is validated before anything starts."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tailrace.errors import ProfileError
from tailrace.profile import Profile
from tailrace.runner import parameters
from tailrace.runner.parameters import Override
from tailrace.runner.plan import Plan

CELL = """\
profile: str = "local"  # the profile, by name
run_dir: str = ""  # of the run; empty: a new exploratory one
rate_rps: float = 50.0  # offered load, requests per second
shards: int = 1  # generator processes
models: list[str] = ["a"]  # to ask
limit_ms: float | None = None  # highest p99, ms
mode: Literal["open", "closed"] = "open"  # kind of load
weights: dict[str, int] = {}
"""


def notebook(folder, source=CELL, tags=("parameters",)):
    path = folder / "01_step.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell(source, metadata={"tags": list(tags)})]), path)
    return path


def check(folder, steps, overrides=()):
    notebook(folder)
    plan = Plan.model_validate({"steps": [{"notebook": "01_step.ipynb"}]})
    profile = Profile.model_validate({"name": "p", "steps": steps})
    return parameters.check(plan, folder, profile, "p.yaml", tuple(overrides))


def refusal(folder, steps, overrides=()):
    with pytest.raises(ProfileError) as caught:
        check(folder, steps, overrides)
    return str(caught.value)


def test_a_cell_gives_names_and_descriptions(tmp_path):
    """Each line is a parameter with its comment; the two that the runner sets are left out."""
    schema = parameters.read(notebook(tmp_path))
    assert schema.names == ["limit_ms", "mode", "models", "rate_rps", "shards", "weights"]
    assert schema.descriptions["rate_rps"] == "offered load, requests per second"
    assert schema.descriptions["weights"] == ""


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rate_rps": 5, "shards": 2},
        {"rate_rps": 0.5, "models": [], "limit_ms": None},
        {"limit_ms": 3.5, "mode": "closed", "weights": {"a": 1}},
    ],
)
def test_values_of_the_right_type_pass(tmp_path, values):
    """A valid value is returned unchanged."""
    assert check(tmp_path, {"01_step": values}) == {"01_step": values}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 5}, "p.yaml: steps.01_step.rate: unknown parameter; "),
        ({"rate_rps": "fast"}, "p.yaml: steps.01_step.rate_rps: found 'fast'; expected float"),
        ({"rate_rps": "5"}, "found '5'; expected float"),
        ({"shards": 1.5}, "found 1.5; expected int"),
        ({"shards": True}, "found True; expected int"),
        ({"models": "a"}, "found 'a'; expected list[str]"),
        ({"models": [1]}, "steps.01_step.models.0: found 1; expected list[str]"),
        ({"mode": "half"}, "found 'half'; expected typing.Literal['open', 'closed']"),
        ({"weights": {"a": "x"}}, "steps.01_step.weights.a: found 'x'"),
        ({"run_dir": "x"}, "steps.01_step.run_dir: found 'x'; the runner sets run_dir itself"),
    ],
)
def test_a_wrong_value_is_refused_with_the_expected_type(tmp_path, values, message):
    """The message names profile, step and parameter."""
    assert message in refusal(tmp_path, {"01_step": values})


def test_an_override_is_read_in_the_type_of_its_parameter(tmp_path):
    """--param is read as YAML, unless the parameter is a string, and overrides the profile."""
    overrides = [Override.parse("01_step.shards=3"), Override.parse("01_step.models=[x, y]")]
    chosen = check(tmp_path, {"01_step": {"shards": 2, "rate_rps": 1.0}}, overrides)
    assert chosen["01_step"] == {"shards": 3, "rate_rps": 1.0, "models": ["x", "y"]}


def test_a_bad_override_is_refused_as_an_override(tmp_path):
    """The message names --param, not the profile."""
    assert "--param 01_step.shards: found 'x'; expected int" in refusal(
        tmp_path, {}, [Override.parse("01_step.shards=x")]
    )
    assert "--param 02.n: unknown step" in refusal(tmp_path, {}, [Override.parse("02.n=1")])


@pytest.mark.parametrize("text", ["", "a", "a=1", "a.=1", ".b=1", "a.b"])
def test_an_override_has_a_form(text):
    """Only STEP.NAME=VALUE is accepted."""
    with pytest.raises(ProfileError, match="expected STEP"):
        Override.parse(text)


def test_a_value_may_hold_an_equals_sign():
    """The first equals sign separates name and value."""
    assert Override.parse("a.b=c=d") == Override("a", "b", "c=d")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x = 1", "line 3: found 'x = 1'; expected `name: type = default"),
        ("x: int", "line 3: found 'x: int'"),
        ("import os", "line 3: found 'import os'"),
        ("x: int = len('a')", "a literal: nothing may be derived in this cell"),
        ("x: Path = 'a'", "name 'Path' is not defined; expected a plain type"),
        ("x: int = 'a'", "the default of x does not fit its type"),
        ("x: int =", "is not Python"),
    ],
)
def test_a_line_that_is_not_a_parameter_is_refused(tmp_path, line, message):
    """A parameters cell holds only typed literals."""
    with pytest.raises(ProfileError) as caught:
        parameters.read(notebook(tmp_path, "\n".join([*CELL.splitlines()[:2], line])))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "01_step.ipynb"))


def test_a_notebook_needs_one_parameters_cell_with_profile_and_run_dir(tmp_path):
    """No tagged cell, or one without run_dir, is refused."""
    with pytest.raises(ProfileError, match="found 0 cells tagged"):
        parameters.read(notebook(tmp_path, tags=()))
    with pytest.raises(ProfileError, match="lacks run_dir"):
        parameters.read(notebook(tmp_path, CELL.splitlines()[0]))
