"""A parameters cell is a schema; every value of a profile is validated before anything starts."""

import json
import re

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
        ({"rate_rps": "fast"}, "p.yaml: steps.01_step.rate_rps: found 'fast'; expected a number of"),
        ({"rate_rps": "5"}, "found '5'; expected a number"),
        ({"shards": 1.5}, "found 1.5; expected a whole number"),
        ({"shards": True}, "found True; expected a whole number"),
        ({"models": "a"}, "found 'a'; expected a list, in [ ], each text"),
        ({"models": [1]}, "steps.01_step.models.0: found 1; expected text"),
        ({"mode": "half"}, "found 'half'; expected one of open, closed: kind of load"),
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
    assert "--param 01_step.shards: found 'x'; expected a whole number" in refusal(
        tmp_path, {}, [Override.parse("01_step.shards=x")]
    )
    assert "--param 02.n: unknown step" in refusal(tmp_path, {}, [Override.parse("02.n=1")])


NOT_JSON = "expected a value that JSON can hold"


@pytest.mark.parametrize("text", [".nan", ".inf", "-.INF", "1e999"])
def test_a_number_that_is_not_finite_is_refused(tmp_path, text):
    """papermill would write it into the notebook, which then is no JSON."""
    assert NOT_JSON in refusal(tmp_path, {}, [Override.parse(f"01_step.rate_rps={text}")])


@pytest.mark.parametrize("value", [{"a": [1.0, float("nan")]}, {1: "y"}, {"a": {2: 3}}])
def test_a_value_that_json_cannot_hold_is_refused_from_a_profile_too(tmp_path, value):
    """A number that is not finite, or a key that is no text, however deep."""
    notebook(tmp_path, CELL + "free: dict = {}\n")
    plan = Plan.model_validate({"steps": [{"notebook": "01_step.ipynb"}]})
    profile = Profile.model_validate({"name": "p", "steps": {"01_step": {"free": value}}})
    with pytest.raises(ProfileError, match=NOT_JSON):
        parameters.check(plan, tmp_path, profile, "p.yaml")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate_rps", "5", 5.0),
        ("rate_rps", "1e3", 1000.0),
        ("shards", "010", 10),
        ("shards", "99999999999999999999", 99999999999999999999),
        ("limit_ms", "null", None),
        ("profile_name", "no", "no"),
        ("profile_name", "é漢\"\\n'$x\ny", "é漢\"\\n'$x\ny"),
        ("models", "[no, 12:30:00, 2024-05-10]", ["no", "12:30:00", "2024-05-10"]),
        ("flag", "yes", True),
        ("flag", "Off", False),
        ("note", "5", "5"),
        ("note", "~", None),
    ],
)
def test_an_override_means_what_it_says(tmp_path, name, text, value):
    """YAML 1.2, in the type of the parameter: a word is text, 010 is ten, and 5 is a float where one is expected."""
    more = 'profile_name: str = ""\nflag: bool = False\nnote: str | None = None\n'
    schema = parameters.read(notebook(tmp_path, CELL + more))
    chosen = parameters._typed(schema, Override.parse(f"01_step.{name}={text}"))
    assert (chosen, type(chosen)) == (value, type(value))


@pytest.mark.parametrize("text", ["[1", "1_000", "0x", "{a: 1}", "true"])
def test_an_override_that_is_no_number_is_refused(tmp_path, text):
    """What is not YAML, or not of the type, is refused with the option that has it."""
    assert refusal(tmp_path, {}, [Override.parse(f"01_step.shards={text}")]).startswith("--param 01_step.shards: ")


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
        ("x: int = 1\nx: int = 2", "line 4: x is declared a second time"),
        ("_x: int = 1", "cannot be named _x"),
        ("model_fields: int = 1", "cannot be named model_fields"),
        ("x: float = 1e999", "the default of x is inf; expected a value that JSON can hold"),
        ("x: Optional[int] = None", "name 'Optional' is not defined; expected a plain type"),
        ("x: list[3] = []", "expected a plain type"),
        ("x: int.y = 1", "expected a plain type"),
        ("x: 'Nothing' = 1", "expected a plain type"),
        ("x: list['Nothing'] = []", "expected a plain type"),
        ("x <- 1", "expected `name: type = default"),
        ("x: int = 1\0", "is not Python"),
    ],
)
def test_a_line_that_is_not_a_parameter_is_refused(tmp_path, line, message):
    """A parameters cell holds only typed literals."""
    with pytest.raises(ProfileError) as caught:
        parameters.read(notebook(tmp_path, "\n".join([*CELL.splitlines()[:2], line])))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "01_step.ipynb"))


@pytest.mark.parametrize(
    ("lines", "description"),
    [
        ('x: str = "a  # b"  # colour', "colour"),
        ('x: dict = {\n    # why\n    "a": [1, 2],  # one\n}  # weights, unit', "weights, unit"),
        ('x: str = """select\n  # not a comment\n1"""  # the query', "the query"),
        ('x: str = "# none"', ""),
        ("x: int = 1# close", "close"),
    ],
)
def test_a_description_is_the_comment_that_python_reads(tmp_path, lines, description):
    """A # within a string begins none, and of several lines the last one has it."""
    assert parameters.read(notebook(tmp_path, CELL + lines)).descriptions["x"] == description


def test_a_docstring_and_comments_are_no_parameters(tmp_path):
    """papermill reads such a cell, and so does the check."""
    assert "shards" in parameters.read(notebook(tmp_path, f'"""What this is."""\n# and more\n\n{CELL}')).names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "cannot be read as a notebook of format 4"),
        ({"worksheets": [], "nbformat": 3}, "cannot be read as a notebook of format 4"),
        ({"cells": ["text"]}, "cannot be read as a notebook of format 4"),
        ({"cells": [{"source": CELL}]}, "found 0 cells tagged"),
        ({"cells": [{"source": CELL, "metadata": None}]}, "found 0 cells tagged"),
        ({"cells": [{"source": CELL, "metadata": {"tags": None}}]}, "found 0 cells tagged"),
        ({"cells": [{"metadata": {"tags": ["parameters"]}}]}, "cannot be read as a notebook of format 4"),
    ],
)
def test_an_odd_notebook_is_refused_in_words(tmp_path, content, message):
    """Other formats, and cells without metadata or source, which converters write."""
    path = tmp_path / "01_step.ipynb"
    path.write_text(json.dumps(content))
    with pytest.raises(ProfileError, match=message):
        parameters.read(path)


@pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf"])
def test_a_source_of_lines_and_a_byte_order_mark_are_read(tmp_path, lead):
    """Both are what editors write."""
    path = tmp_path / "01_step.ipynb"
    cell = {"source": CELL.splitlines(keepends=True), "metadata": {"tags": ["parameters"]}}
    path.write_bytes(lead + json.dumps({"cells": [cell]}).encode())
    assert "shards" in parameters.read(path).names


def test_a_notebook_needs_one_parameters_cell_with_profile_and_run_dir(tmp_path):
    """No tagged cell, or one without run_dir, is refused."""
    with pytest.raises(ProfileError, match="found 0 cells tagged"):
        parameters.read(notebook(tmp_path, tags=()))
    with pytest.raises(ProfileError, match="lacks run_dir"):
        parameters.read(notebook(tmp_path, CELL.splitlines()[0]))


def test_a_deploy_checks_the_parameters_of_the_profile(tmp_path):
    """An unknown one is refused with its neighbour where no step runs either; a right one, the control, is not."""
    notebook(tmp_path)
    (tmp_path / "runbook").mkdir()
    (tmp_path / "runbook" / "plan.yaml").write_text("steps: [{notebook: 01_step.ipynb}]")
    for values, said in (({"rate_rsp": 5.0}, "did you mean rate_rps?"), ({"rate_rps": "1 s"}, "requests per second")):
        with pytest.raises(ProfileError, match=re.escape(said)):
            parameters.check_profile(tmp_path, Profile.model_validate({"name": "p", "steps": {"01_step": values}}))
    with pytest.raises(ProfileError, match=r"did you mean 01_step\?"):
        parameters.check_profile(tmp_path, Profile.model_validate({"name": "p", "steps": {"01_steps": {}}}))
    parameters.check_profile(tmp_path, Profile.model_validate({"name": "p", "steps": {"01_step": {"rate_rps": 5.0}}}))
