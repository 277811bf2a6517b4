"""Scans the files of a run for credentials, and reports them by file and kind, never by value.

Text files are read as they are; of Parquet files, which are compressed, the distinct values of the text columns.
A leak is anything that looks like a credential (`tailrace.credentials`), or the exact value of a secret that the
profile names, in plain, JSON-escaped, URL-quoted or base64 form.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from tailrace import credentials
from tailrace.errors import LeakFound
from tailrace.profile import Profile

SHORTEST = 6
"""Shorter values would match ordinary text everywhere."""


class Leak(NamedTuple):
    """The place of a credential, without its text."""

    file: str  # relative to the folder that was scanned
    kind: str


def secrets(profile: Profile, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets that `profile` names and `environment` holds, by name."""
    named = (*profile.service.secrets, *profile.service.variables, *profile.policy.variables)
    names = (*named, profile.provider.api_key_env)
    return {name: value for name in names if len(value := environment.get(name, "")) >= SHORTEST}


def scan(folder: Path, known: Mapping[str, str] | None = None, only: Iterable[Path] | None = None) -> list[Leak]:
    """Return the leaks in all files below `folder`, or in those of `only`; `known` are secrets by name."""
    files = sorted(folder.rglob("*") if only is None else only)
    forms = {name: _forms(value) for name, value in (known or {}).items()}
    leaks = (
        Leak(str(file.relative_to(folder)), kind)
        for file in files
        if file.is_file() and not file.is_symlink()
        for kind in _kinds(_text(file), forms)
    )
    return list(dict.fromkeys(leaks))


def require_none(folder: Path, known: Mapping[str, str] | None = None, only: Iterable[Path] | None = None) -> None:
    """Raise LeakFound, with the file and kind of each leak, when `scan` finds any."""
    if leaks := scan(folder, known, only):
        named = "; ".join(f"{leak.file}: {leak.kind}" for leak in leaks[:5])
        more = f" and {len(leaks) - 5} more" if len(leaks) > 5 else ""
        raise LeakFound(f"{folder.name}: credentials in {named}{more}. Revoke them, and do not share this run")


def _kinds(text: str, forms: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    yield from (finding.kind for finding in credentials.find(text))
    yield from (f"value of {name}" for name, written in forms.items() if any(form in text for form in written))


def _forms(value: str) -> tuple[str, ...]:
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    # The last character of the base64 form also depends on the text after the value.
    return tuple({value, json.dumps(value)[1:-1], quote(value, safe=""), encoded[:-1]})


def _text(file: Path) -> str:
    if file.suffix == ".parquet":
        return "\n".join(_strings(file))
    return file.read_bytes().decode("utf-8", errors="replace")


def _strings(file: Path) -> Iterator[str]:
    """Yield the distinct values of every text column, and the names and metadata of the schema."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    yield str(table.schema)
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield from (value for value in pc.unique(column).to_pylist() if value)
        elif pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            yield str(column.to_pylist())
