"""The threat model, `runbook/procedures/security.md`, as its tests read it: rows, names of files, numbers of limits."""

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tailrace.profile import EdgeSettings, ResourceLimits, Service
from tailrace.service.settings import PREFIX, Settings

LIB = Path(__file__).parents[1] / "lib" / "tailrace"
PAGE = (LIB.parents[1] / "runbook" / "procedures" / "security.md").read_text(encoding="utf-8")
UNITS = {"%": 0.01, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_NUMBER = re.compile(r"(\d[\d,]*(?:\.\d+)?)(?: (%|[KMG]iB))?")
_UNITS_OF_NAMES = {"_kb": 1 << 10, "_mb": 1 << 20}

SECTIONS = {"edge": EdgeSettings, "limits": ResourceLimits, "service": Service}

Row = dict[str, str]


def rows(heading: str, page: str = PAGE) -> list[Row]:
    """Return the rows of all tables below `heading`, by the heads of their columns."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, f"the threat model has no part {heading!r}"
    found, head = [], []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        elif not set(line) <= set("|-: "):
            found.append(dict(zip(head, cells, strict=True)))
    return found


def named(cell: str) -> list[str]:
    """Return what stands in a cell as code."""
    return re.findall(r"`([^`]+)`", cell)


def pattern(name: str) -> re.Pattern[str]:
    """Return what a name of the page matches: a word in capitals is one name, `*` is all that follows."""
    return re.compile(re.sub("[A-Z]{3,}", "[^/]+", re.escape(name)).replace(r"\*", ".+"))


def numbers(cell: str) -> list[float]:
    """Return the numbers in a cell, in bytes, seconds, pieces or shares."""
    return [float(digits.replace(",", "")) * UNITS.get(unit, 1) for digits, unit in _NUMBER.findall(cell)]


def value(name: str) -> float | None:
    """Return what a name in the column of limits stands for; None: it has no default. Raises LookupError.

    `TAILRACE_…` is a setting of the service, `SECTION.KEY` one of a profile; all else is a constant of the code.
    """
    section, _, field = name.partition(".")
    if name.startswith(PREFIX):
        return _default(Settings.__dataclass_fields__, name.removeprefix(PREFIX).lower(), name)
    if section in SECTIONS and "." not in field:
        default = _default(SECTIONS[section].model_fields, field, name)
        return None if default is None else default * _UNITS_OF_NAMES.get(field[-3:], 1)
    module, _, constant = name.rpartition(".")
    key = ""
    if constant.islower():  # an entry of a constant
        module, _, constant, key = *module.rpartition("."), constant
    try:
        found = getattr(importlib.import_module(f"tailrace.{module}"), constant)
        return float(found[key] if key else found)
    except (ImportError, AttributeError, KeyError) as error:
        raise LookupError(f"{name}: {error}") from None


def _default(fields, field: str, name: str) -> float | None:
    if field not in fields:
        raise LookupError(f"{name}: no such setting")
    default = fields[field].default
    return None if default is None else float(default)


@dataclass(frozen=True)
class Constant:
    """A number that a module names."""

    module: str
    name: str

    @property
    def value(self) -> object:
        return getattr(importlib.import_module(f"tailrace.{self.module}"), self.name)

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def constants(wanted: Callable[[Constant], object]) -> Iterator[Constant]:
    """Yield the numbers that modules name at their top, and that are wanted. Only the modules of these are imported."""
    for path, module in modules():
        for name in _assigned(ast.parse(path.read_text(encoding="utf-8"))):
            if wanted(constant := Constant(module, name)) and type(constant.value) in (int, float):
                yield constant


def modules() -> Iterator[tuple[Path, str]]:
    """Yield the path of each module of the package, and its name within it."""
    for path in sorted(LIB.rglob("*.py")):
        yield path, ".".join(path.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")


def calls(names: frozenset[str]) -> Iterator[str]:
    """Yield the path, below the package, of each module that calls a function or a method of one of these names."""
    for path, _ in modules():
        if not any(name in (text := path.read_text(encoding="utf-8")) for name in names):
            continue
        found = {node.func for node in ast.walk(ast.parse(text)) if type(node) is ast.Call}
        if names & {getattr(function, "attr", getattr(function, "id", "")) for function in found}:
            yield str(path.relative_to(LIB))


def _assigned(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            for name in getattr(target, "elts", [target]):
                if isinstance(name, ast.Name):
                    yield name.id
