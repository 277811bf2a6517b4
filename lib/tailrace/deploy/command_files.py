"""The files that a command is made of, where its profile does not list them: what its words name, and no more."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tailrace import credentials
from tailrace.deploy import source_walk

RUNNER = re.compile(
    r"(?:python|pypy|(?:ba|da|z|k|fi)?sh|node(?:js)?|deno|bun|ruby|perl|php|java|Rscript|lua|julia|dotnet|uvx?|env|nice|"
    r"ionice|chrt|taskset|timeout|stdbuf|setsid|sudo|tini|dumb-init)[\d.]*(?:\.exe)?"
)
"""Names of programs that run other programs: they belong to the machine, as its kernel does."""
DATA = frozenset((".log", ".db", ".sqlite", ".sqlite3", ".pid", ".lock", ".sock", ".out", ".err"))
"""Suffixes of files that a program writes: a copy of an old one must never take their place."""
KEY = re.compile(r"(?i)\.(?:pem|key|p12|pfx|jks|env)$|^\.env\b")
KERNEL = ("/proc/", "/sys/", "/dev/", "/run/secrets/")
NAMES_MODULE = ("-m", "--app", "-A")
MODULE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(:[A-Za-z_][\w.]*(?:\(.*\))?)?")


def named(command: Sequence[str], directory: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the files, and packages of Python, that the words of `command` name when it starts in `directory`.

    A program that is found by PATH counts; one that runs other programs, as an interpreter, does not.
    """
    found: list[Path] = []
    for number, word in enumerate(command):
        if number == 0 and "/" not in word:
            found += _program(word, environment)
        found += [path for token in _tokens(word) if (path := _file(token, directory))]
        found += _module(word, command[number - 1] if number else "", directory, environment)
    return tuple(dict.fromkeys(found))


def _program(word: str, environment: Mapping[str, str]) -> list[Path]:
    path = shutil.which(word, path=environment.get("PATH", os.environ.get("PATH")))
    return [source_walk.absolute(Path(path))] if path and not RUNNER.fullmatch(Path(path).name) else []


def _tokens(word: str) -> Iterator[str]:
    """Yield what may name a file: the word, the value of an option, and the words of a line for a shell."""
    yield word
    if word.startswith("-") and "=" in word:
        yield word.partition("=")[2]
    if any(map(str.isspace, word)):
        try:
            yield from shlex.split(word)
        except ValueError:
            return


def _file(token: str, directory: Path) -> Path | None:
    path = source_walk.absolute(directory / token)
    excluded = path.suffix.lower() in DATA or RUNNER.fullmatch(path.name) or _holds_key(path.name)
    try:
        return None if excluded or str(path).startswith(KERNEL) or not path.is_file() else path
    except (OSError, ValueError):  # no path at all: too long, or not ours to look at
        return None


def _holds_key(name: str) -> bool:
    """Return whether a file is named like a credential: no copy of it is kept."""
    return bool(KEY.search(name) or credentials.SECRET_NAME.search(Path(name).stem.replace("-", "_")))


def _module(word: str, before: str, directory: Path, environment: Mapping[str, str]) -> list[Path]:
    """Return the file of a Python module, as in `-m server` or `server:app`; its package when it has one.

    Of a package that is too large, the module alone.
    """
    match = MODULE.fullmatch(word)
    if not match or not (before in NAMES_MODULE or match[2] or "." in match[1]):
        return []
    parts = match[1].split(".")
    searched = [directory, *(directory / p for p in environment.get("PYTHONPATH", "").split(":") if p)]
    for folder in searched:
        stem = folder.joinpath(*parts)
        own = next((f for f in (stem.with_name(f"{stem.name}.py"), stem / "__main__.py", stem / "__init__.py")
                    if f.is_file()), None)  # fmt: skip
        if own is None:
            continue
        package = folder / parts[0]
        whole = package.is_dir() and source_walk.within_bounds([package])
        return [source_walk.absolute(package if whole else own)]
    return []
