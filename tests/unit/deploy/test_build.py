"""A release's digest follows what the service imports, and nothing else."""

import ast
import shutil
import zipfile
from pathlib import Path

import pytest

from tailrace.deploy import build
from tailrace.errors import BuildFailed


@pytest.fixture
def source(root, tmp_path):
    """A copy of what a release is built from, to be edited."""
    copy = tmp_path / "source"
    shutil.copytree(root / "lib", copy / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements-service.lock", "requirements.lock"):
        shutil.copy(root / name, copy / name)
    return copy


def edit(path: Path, old: str = "", new: str = "\n# edited\n") -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text + new)


ROOMS = ("analysis", "checks", "cli", "deploy", "load", "notebook", "profile", "report", "run", "runner", "testbed")


def test_an_edit_in_the_runbook_makes_no_new_release(source):
    """Not in any module of its rooms, and not with a new one."""
    before = build.content(source)
    for room in ROOMS:
        for path in (source / "lib/tailrace" / room).rglob("*.py"):
            edit(path)
        (source / "lib/tailrace" / room / "new.py").write_text("import tailrace.client\n")
        assert build.content(source) == before, room


def test_an_edit_of_what_the_service_imports_makes_a_new_release(source):
    """One comment is enough: other bytes are another release."""
    digests = [build.content(source)]
    for name in ("client/policy/caching.py", "client/__init__.py", "service/app.py", "errors.py", "__init__.py"):
        edit(source / "lib/tailrace" / name)
        digests.append(build.content(source))
    assert len(set(digests)) == len(digests)


def test_a_module_that_the_service_begins_to_import_makes_a_new_release(source):
    """It was no part of the release before."""
    before = build.content(source)
    (source / "lib/tailrace/service/new.py").write_text("value = 1\n")
    assert build.content(source) == before
    edit(source / "lib/tailrace/service/app.py", new="\nfrom tailrace.service import new\n")
    imported = build.content(source)
    edit(source / "lib/tailrace/service/new.py")
    assert len({before, imported, build.content(source)}) == 3


def test_only_what_of_pyproject_a_release_has_counts(source):
    """Another tool of the developers makes no new release; another dependency of the service does."""
    before = build.content(source)
    edit(source / "pyproject.toml", '"mypy>=1.18"', '"mypy>=1.19"')
    edit(source / "pyproject.toml", "line-length = 120", "line-length = 121")
    edit(source / "README.md")
    edit(source / "requirements.lock")
    assert build.content(source) == before
    edit(source / "pyproject.toml", '"uvicorn>=0.40"', '"uvicorn>=0.41"')
    assert build.content(source) != before


def test_another_lock_is_another_release(source):
    """What is installed beside our modules counts."""
    before = build.content(source)
    edit(source / "requirements-service.lock")
    assert build.content(source) != before


def test_a_wheel_holds_what_the_service_imports_and_no_other_module(source, tmp_path):
    """Each module but the first is imported by another one in the wheel; a module that nobody imports is seen."""
    wheel = build.wheel(source, tmp_path / "first")
    assert unimported(wheel) == []
    assert wheel.read_bytes() == build.wheel(source, tmp_path / "again").read_bytes()
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tailrace/report/page.py", "import tailrace.client")
    assert unimported(wheel) == ["tailrace.report.page"]


def test_a_wheel_promises_no_command_that_it_lacks(source, tmp_path):
    """`tailrace` is the runbook's command line, which is not in a release."""
    names = zipfile.ZipFile(build.wheel(source, tmp_path)).namelist()
    assert not [name for name in names if "cli" in name.split("/") or name.endswith("entry_points.txt")]


def test_the_simulator_is_in_its_own_wheel_only(source, tmp_path):
    """The provider's wheel holds the service, too, and is another one for its digest."""
    ours = zipfile.ZipFile(build.wheel(source, tmp_path / "a")).namelist()
    more = zipfile.ZipFile(build.wheel(source, tmp_path / "b", build.SERVICE, build.SIMULATOR)).namelist()
    assert {name.split("/")[1] for name in set(more) - set(ours)} == {"simulator"}
    before = build.content(source), build.content(source, build.SERVICE, build.SIMULATOR)
    edit(source / "lib/tailrace/simulator/faults.py")
    after = build.content(source), build.content(source, build.SERVICE, build.SIMULATOR)
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


def test_a_source_that_cannot_be_packed_is_named(tmp_path):
    """A folder without a service is no source of a release."""
    with pytest.raises(BuildFailed, match=r"cannot be packed: .*no module tailrace\.service"):
        build.wheel(tmp_path, tmp_path)


def unimported(wheel: Path) -> list[str]:
    """Return the modules of a wheel that nothing in it imports, walking from the service; by other means than ours."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".py")}
    sources = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): text for name, text in files.items()
    }
    reached, found = set(), {"tailrace.service.__main__"}
    while found:
        reached |= found
        names = {name for module in found for name in mentioned(sources[module])}
        parents = {".".join(name.split(".")[:count]) for name in names for count in range(1, name.count(".") + 1)}
        found = ((names | parents) & set(sources)) - reached
    return sorted(set(sources) - reached)


def mentioned(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names
