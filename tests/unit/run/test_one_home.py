"""Only `run/` spells the paths of a run's folder; this walks the source of all other rooms."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LIB = Path(__file__).parents[3] / "lib" / "tailrace"
FOLDERS = {"data", "latest", "notebooks", "records", "results", "runs"}
FILES = {"events.jsonl", "index.html", "profile.json", "report.html", "run.json"}
PATH_CALLS = {"Path", "glob", "joinpath", "rglob", "with_name"}
OUTSIDE = sorted(path for path in LIB.rglob("*.py") if path.relative_to(LIB).parts[0] != "run")


def spelt(source: str) -> list[str]:
    """Return the parts of a run's folder that `source` spells: file names anywhere, folders where a path is built."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose]
    files = [node.value for node in texts if node.value in FILES]
    parts = [part for text in _path_texts(tree) for part in text.split("/") if part in FOLDERS | FILES]
    return sorted({*files, *parts})


def _path_texts(tree: ast.AST) -> Iterator[str]:
    """Yield the constants that are operands of `/` or arguments of a call that builds a path."""
    for node in ast.walk(tree):
        operands: list[ast.expr] = []
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            operands = [node.left, node.right]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in PATH_CALLS:
            operands = node.args
        for operand in operands:
            yield from (part.value for part in ast.walk(operand)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str))  # fmt: skip


def test_no_room_but_run_spells_a_path_of_a_run():
    """Other rooms take the paths of a run from `RunDir`."""
    spellings = {str(path.relative_to(LIB)): spelt(path.read_text()) for path in OUTSIDE}
    assert {path: parts for path, parts in spellings.items() if parts} == {}


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ('run_dir / "results" / f"{step}.json"', ["results"]),
        ('run.glob("records/*.parquet")', ["records"]),
        ('root / "runs" / "latest"', ["latest", "runs"]),
        ('path.with_name("report.html")', ["report.html"]),
        ('NAME = "events.jsonl"', ["events.jsonl"]),
        ('frame("records")', []),
        ('"""The page, report.html."""', []),
    ],
)
def test_a_spelt_path_is_seen(source, parts):
    """The walk finds folders and files wherever a path is built, and leaves frame names and prose alone."""
    assert spelt(source) == parts
