"""The files around the code agree with each other, and hold nothing of the machine that they were made on."""

import ast
import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LIB = ROOT / "lib" / "tailrace"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {"requirements.lock": ["service", "notebooks", "dev"], "requirements-service.lock": ["service", "redis"]}


def closed(extras: list[str]) -> set[str]:
    """Return these extras with those that they bring along."""
    brought = {
        inner
        for extra in extras
        for requirement in map(Requirement, EXTRAS[extra])
        if requirement.name == "tailrace"
        for inner in requirement.extras
    }
    return {*extras, *brought} if brought <= set(extras) else closed(sorted({*extras, *brought}))


def wanted(extras: list[str]) -> list[Requirement]:
    """Return what pyproject.toml asks for with these extras, without the project itself."""
    lines = [*PROJECT["dependencies"], *(line for extra in closed(extras) for line in EXTRAS[extra])]
    return [r for r in map(Requirement, lines) if r.name != "tailrace"]


def pins(lock: str) -> dict[str, Version]:
    """Return the version of each package that a lock pins."""
    return {
        canonicalize_name(name): Version(version) for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.M)
    }


def unmet(requirements: list[Requirement], pinned: dict[str, Version]) -> list[str]:
    """Return the requirements that a lock does not meet."""
    return [
        str(r)
        for r in requirements
        if canonicalize_name(r.name) not in pinned or pinned[canonicalize_name(r.name)] not in r.specifier
    ]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_meets_pyproject(name):
    """Every dependency of pyproject.toml is pinned within its range; else: make lock."""
    assert unmet(wanted(LOCKS[name]), pins((ROOT / name).read_text())) == []


def test_a_pin_out_of_range_is_seen():
    """The agreement can fail: a pin that is missing or too old is named."""
    requirements = [Requirement("a>=2"), Requirement("b")]
    assert unmet(requirements, pins("a==1.0 \\\n    --hash=sha256:00")) == ["a>=2", "b"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash(name):
    """Each package of a lock stands with at least one hash, so that nothing else gets installed."""
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text().strip())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_the_locks_agree_with_each_other():
    """The service's lock is a part of the whole lock: instances run what was tested."""
    whole = pins((ROOT / "requirements.lock").read_text())
    assert pins((ROOT / "requirements-service.lock").read_text()).items() <= whole.items()


@pytest.mark.parametrize("name", [*LOCKS, "environment.yml"])
def test_no_address_is_written_down(name):
    """Where packages come from is the user's configuration, not ours."""
    assert (
        re.findall(r"(?i)://|--(?:extra-)?index|--find-links|--trusted-host| @ |file:", (ROOT / name).read_text()) == []
    )


def test_environment_yml_installs_all_extras_from_pyproject():
    """conda brings Python, pip the project with all of its extras; versions stay in pyproject.toml."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["channels"] == ["conda-forge"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    (line,) = pip["pip"]
    extras = re.fullmatch(r"-e \.\[(.+)\]", line)[1].split(",")
    assert closed(extras) == set(EXTRAS)
    assert set(extras) == set(LOCKS["requirements.lock"])


def test_the_version_is_written_once_and_once_more():
    """pyproject.toml and the package say the same version."""
    assert importlib.import_module("tailrace").__version__ == PROJECT["version"]


def test_python_is_the_same_everywhere():
    """The least Python is the one that mypy checks for and that the locks were made for."""
    least = min(c for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)).rpartition(" ")[2]
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={least}")
    assert config["tool"]["mypy"]["python_version"] == least


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_holds_a_path_of_this_machine():
    """Nothing in the repository names the folder of the project or somebody's home."""
    here = "|".join(re.escape(str(place)) for place in (ROOT, Path.home() / "x") if len(str(place)) > 6)
    pattern = re.compile(rf"(?:{here})\b|/(?:home|Users)/[a-z]\w*/" + "|/wor" + "k/(?:main|shared)")
    found = [
        str(p.relative_to(ROOT)) for p in tracked() if pattern.search(p.read_text(encoding="utf-8", errors="replace"))
    ]
    assert found == []


def modules() -> list[Path]:
    return sorted(LIB.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIB)))
def test_public_names_are_sorted_and_there(path):
    """`__all__` is sorted, and each of its names can be imported."""
    names = [
        ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    for listed in names:
        assert listed == sorted(set(listed), key=_as_ruff_sorts)
        dotted = ".".join(path.relative_to(LIB.parent).with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(dotted)
        assert [name for name in listed if not hasattr(module, name)] == []


def _as_ruff_sorts(name: str) -> tuple[bool, bool, str]:
    """CONSTANTS, then Classes, then functions."""
    return not name.isupper(), not name[0].isupper(), name


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIB)))
def test_a_module_is_a_noun_of_readable_length(path):
    """No module is a drawer, none above 300 lines, and each says in its first line what it is for."""
    assert not {"utils", "helpers", "common", "base", "manager", "misc"} & {path.stem, *path.parent.parts[-2:]}
    assert len(path.read_text().splitlines()) <= 300
    assert ast.get_docstring(ast.parse(path.read_text()))
