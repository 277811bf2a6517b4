"""The notebooks keep their house style: a story that a colleague can read, with no logic in it."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tailrace.runner import parameters

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FORBIDDEN = {ast.FunctionDef: "def", ast.AsyncFunctionDef: "async def", ast.ClassDef: "class", ast.Lambda: "lambda"}


def violations(notebook) -> list[str]:
    """Return a sentence for each violation of the house style in `notebook`."""
    return [*_shape(notebook), *_opening(notebook), *_closing(notebook), *_code(notebook), *_clean(notebook)]


def _shape(notebook) -> Iterator[str]:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lengths = [len(cell.source.splitlines()) for cell in code]
    if not 10 <= len(notebook.cells) <= 25:
        yield f"{len(notebook.cells)} cells; the style allows 10 to 25"
    if lengths and max(lengths) > 12:
        yield f"a code cell of {max(lengths)} lines; the style allows 12"
    if lengths and median(lengths) > 5:
        yield f"the median code cell has {median(lengths):g} lines; the style allows 5"
    for before, cell in zip([None, *notebook.cells], notebook.cells, strict=False):
        if cell.cell_type == "code" and (before is None or before.cell_type != "markdown"):
            yield f"no prose before the code cell {cell.source[:40]!r}"


def _opening(notebook) -> Iterator[str]:
    first = notebook.cells[0].source if notebook.cells else ""
    if not re.match(r"# [A-Z][a-z]+ \S+", first) or notebook.cells[0].cell_type != "markdown":
        yield "the H1 at the top is not a verb phrase"
    opening = "\n".join(cell.source for cell in notebook.cells[:3] if cell.cell_type == "markdown").lower()
    for word in ("proves", "needs", "leaves behind"):
        if word not in opening:
            yield f"the opening does not say what it {word}"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if tagged != code[:1]:
        yield "the first code cell, and no other, has to be the parameters"
    if len(code) > 1 and not _only_imports(code[1].source):
        yield "the code cell after the parameters has to be the imports"
    if any(_imports(cell.source) for cell in code[2:]):
        yield "there are imports outside of their cell"


def _closing(notebook) -> Iterator[str]:
    if not notebook.cells or notebook.cells[-1].source.strip() != "step.finish()":
        yield "the last cell has to be step.finish(): it shows the checks, and raises when one failed"


def _code(notebook) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        if re.search(r"^\s*[!%]", cell.source, re.M):
            yield f"a shell or magic line in {cell.source[:40]!r}"
            continue
        for node in ast.walk(ast.parse(cell.source)):
            if type(node) in FORBIDDEN:
                yield f"{FORBIDDEN[type(node)]} in a cell: logic belongs in lib/"
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                yield f"{node.attr} is private"
        yield from (problem for name in _imports(cell.source) if (problem := _not_public(name)))


def _clean(notebook) -> Iterator[str]:
    for cell in notebook.cells:
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            yield f"outputs are committed in {cell.source[:40]!r}; nbstripout removes them"


def _imports(source: str) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(re.sub(r"^\s*[!%].*$", "", source, flags=re.M))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def _only_imports(source: str) -> bool:
    return all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(source).body)


def _not_public(name: str) -> str:
    """Return why a name must not be imported, or "" when it may."""
    if name.split(".")[0] in {"subprocess", "os", "sys", "shutil"}:
        return f"{name}: a notebook uses the machine through tailrace only"
    if name.split(".")[0] != "tailrace" or name == "tailrace":
        return ""
    module, _, last = name.rpartition(".")
    listed = getattr(importlib.import_module(module), "__all__", None)
    if "._" in name or (listed is not None and last not in listed and not _is_module(name)):
        return f"{name} is not a public name of tailrace"
    return ""


def _is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_keeps_the_house_style(path):
    """No committed notebook violates it."""
    assert violations(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_is_described(path):
    """A parameters cell is a schema: each line has a type, a default and a description."""
    schema = parameters.read(path)
    assert [name for name, text in schema.descriptions.items() if len(text) < 5] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_the_step_of_its_own_name(path):
    """The step has the name of the file: results and records are kept under it."""
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert f'begin("{path.stem}", profile=profile, run_dir=run_dir)' in " ".join(code.split())


def test_the_plan_holds_every_notebook_in_order():
    """The plan runs every notebook in notebooks/."""
    planned = yaml.safe_load((ROOT / "runbook" / "plan.yaml").read_text())["steps"]
    assert [ROOT / step["notebook"] for step in planned] == NOTEBOOKS


def test_the_readme_of_the_notebooks_lists_each():
    """The table in notebooks/README.md links to every notebook."""
    text = (ROOT / "notebooks" / "README.md").read_text()
    assert [path.name for path in NOTEBOOKS if f"({path.name})" not in text] == []


def model(*, replaced: dict[int, object] | None = None):
    """Return a notebook in the house style, with the cells at these places replaced."""
    cells = [
        new_markdown_cell("# Show the style\n\nWhat this **proves**, **needs** and **leaves behind**."),
        new_markdown_cell("The parameters."),
        new_code_cell('profile: str = "local"  # profile', metadata={"tags": ["parameters"]}),
        new_markdown_cell("The imports."),
        new_code_cell("from tailrace.profile import load"),
        new_markdown_cell("A step."),
        new_code_cell("load"),
        new_markdown_cell("Another."),
        new_code_cell("load"),
        new_markdown_cell("The verdict."),
        new_code_cell("step.finish()"),
    ]
    for place, cell in (replaced or {}).items():
        cells[place] = cell
    return new_notebook(cells=cells)


def test_a_notebook_in_the_style_has_no_violations():
    """The model notebook keeps the style."""
    assert violations(model()) == []


@pytest.mark.parametrize(
    ("place", "cell", "violation"),
    [
        (0, new_markdown_cell("# the style\n\nproves, needs, leaves behind"), "verb phrase"),
        (0, new_markdown_cell("# Show the style\n\nproves, leaves behind"), "what it needs"),
        (2, new_code_cell('profile: str = "local"'), "has to be the parameters"),
        (4, new_code_cell("x = 1"), "has to be the imports"),
        (4, new_code_cell("import subprocess"), "through tailrace only"),
        (4, new_code_cell("from tailrace.profile import ProfileSection"), "not a public name"),
        (6, new_code_cell("import pandas"), "outside of their cell"),
        (6, new_code_cell("\n".join(["load"] * 13)), "code cell of 13 lines"),
        (6, new_code_cell("def f():\n    pass"), "def in a cell"),
        (6, new_code_cell("class A:\n    pass"), "class in a cell"),
        (6, new_code_cell("!ls"), "shell or magic"),
        (6, new_code_cell("%time load"), "shell or magic"),
        (6, new_code_cell("load._private"), "is private"),
        (6, new_code_cell("load", execution_count=1), "outputs are committed"),
        (7, new_code_cell("load"), "no prose before"),
        (10, new_code_cell("print('ignore this cell')"), "step.finish()"),
    ],
)
def test_each_rule_can_be_broken(place, cell, violation):
    """For each rule a notebook that breaks it is found."""
    assert any(violation in found for found in violations(model(replaced={place: cell})))


def test_too_few_cells_are_found():
    """Two cells are not a notebook."""
    assert any("2 cells" in violation for violation in violations(new_notebook(cells=model().cells[:2])))


def test_long_cells_are_found():
    """A median above five lines is too much code."""
    long = {place: new_code_cell("\n".join(["load"] * 6)) for place in (4, 6, 8)}
    assert any("median" in violation for violation in violations(model(replaced=long)))
