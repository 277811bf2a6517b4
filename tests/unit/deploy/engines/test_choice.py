"""Which engine a profile gets, and that nobody but the one who chooses asks which it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailrace.deploy.engines import choice
from tailrace.errors import ProfileError
from tailrace.profile import Profile

LIB = Path(__file__).parents[4] / "lib" / "tailrace"
ENGINES = LIB / "deploy" / "engines"


def profile(**content) -> Profile:
    return Profile.model_validate({"name": "p", **content})


def test_an_engine_is_a_folder():
    """Adding one is adding a folder: nothing else lists them."""
    folders = sorted(path.parent.name for path in ENGINES.glob("*/__init__.py"))
    assert choice.names() == folders == ["docker", "process"]


def test_an_unknown_engine_is_refused_with_those_that_there_are(tmp_path):
    """By key, found and expected."""
    with pytest.raises(ProfileError, match=r"profile p: engine: found 'podman'; expected 'docker' or 'process'"):
        choice.create(profile(engine="podman"), tmp_path)


@pytest.mark.parametrize("service", [{"image": "nginx"}, {"dockerfile": "Dockerfile"}])
def test_an_image_is_refused_where_the_engine_runs_none(tmp_path, service):
    """With the reason, and the engine that would. Negative control: without an image the engine is made."""
    with pytest.raises(ProfileError, match=r"need engine: docker; found engine: process \(instances are processes"):
        choice.create(profile(service=service), tmp_path)
    assert choice.create(profile(), tmp_path)


@pytest.mark.parametrize("name", choice.names())
def test_an_engine_declares_what_it_lacks_with_a_reason(name):
    """What it lacks is known by looking at its folder, without its packages."""
    assert all(choice.lacks(profile(engine=name)).values())


def questions(source: str) -> Iterator[str]:
    """Yield each place in `source` that compares the name of an engine, or imports the folder of one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare | ast.match_case):
            parts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            named = any(isinstance(n, ast.Attribute | ast.Name) and _last(n) == "engine" for n in ast.walk(node))
            if named and any(part in choice.names() for part in parts):
                yield f"line {getattr(node, 'lineno', 0)} compares the name"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for name in names:
            if any(f"{module}{name}.".startswith(f"tailrace.deploy.engines.{folder}.") for folder in choice.names()):
                yield f"line {node.lineno} imports {module}{name}"


def _last(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


@pytest.mark.parametrize(
    "path", [path for path in sorted(LIB.rglob("*.py")) if not path.is_relative_to(ENGINES)],
    ids=lambda path: str(path.relative_to(LIB)),
)  # fmt: skip
def test_nobody_outside_asks_which_engine_it_is(path):
    """No module compares the name of an engine, or imports an engine's folder."""
    assert list(questions(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        'if profile.engine == "docker": pass',
        'if engine in ("process", "kubernetes"): pass',
        'match profile.engine:\n    case "docker" if profile.engine: pass',
        "def f():\n    from tailrace.deploy.engines.docker.engine import DockerEngine",
        "from tailrace.deploy.engines import process",
        "import tailrace.deploy.engines.docker.network",
    ],
)
def test_asking_is_seen(source):
    """The rule can fail: each way to ask is found, also inside a function."""
    assert list(questions(source))


def test_what_only_looks_alike_is_no_question():
    """An engine is handed on, and other things are called docker, too."""
    source = "from tailrace.deploy.engines import Engine, choice\nimport docker\nassert part == 'docker'"
    assert not list(questions(source))
