"""The modules of tailrace that a program imports, directly or through others, found by walking the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "tailrace"


def needed(lib: Path, *programs: str) -> dict[str, Path]:
    """Return each module that `programs` import, by name, with its file; raises FileNotFoundError without a program.

    An import counts wherever it stands: in a function, for the type checker only. A module brings its packages.
    """
    for program in programs:
        if _file(lib, program) is None:
            raise FileNotFoundError(f"{lib} has no module {program}")
    modules: dict[str, Path] = {}
    waiting = list(programs)
    while waiting:
        name = waiting.pop()
        path = None if name in modules else _file(lib, name)
        if path is not None:
            modules[name] = path
            waiting += [name.rpartition(".")[0], *imports(path.read_text(encoding="utf-8"))]
    return dict(sorted(modules.items()))


def imports(source: str) -> Iterator[str]:
    """Yield what `source` imports of this package; `from a import b` names `a` and `a.b`, which may be a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def _file(lib: Path, name: str) -> Path | None:
    path = lib.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in files if name and file.is_file()), None)
