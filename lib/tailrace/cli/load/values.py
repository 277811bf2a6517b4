"""Options whose values are more than a word: limits, headers, fields of a body. Each is read, or refused, here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import click

from tailrace import objectives, percentiles, request_headers

OURS: Final = {
    "model": "--model",
    "messages": "--prompts",
    "prompt": "--prompts",
    "input": "--prompts",
    "stream": "--stream",
    "temperature": "--temperature",
}
"""Fields of a body that an option sets, because more than the body depends on it."""
_PERCENTILES: Final = (*percentiles.PERCENTILES, "p99.99")
T = TypeVar("T")
_PAGE: Final = re.compile(r"https?://[^\s/@]+(?:/\S*)?")
_VARIABLE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


def limits(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> objectives.Objectives:
    """Read `p99=800` and `ttft_p95=300`."""
    known = [f"{prefix}{name}" for prefix in ("", *(f"{m}_" for m in objectives.MEASURES)) for name in _PERCENTILES]
    return _read(lambda: objectives.read_limits(values), (value.partition("=")[0] for value in values), known)


def goodput(context: click.Context, option: click.Parameter, value: str | None) -> objectives.Goodput | None:
    """Read `ttft=300,tpot=40,share=0.95`."""
    if value is None:
        return None
    names = (part.partition("=")[0].strip() for part in value.split(","))
    return _read(lambda: objectives.read_goodput(value), names, [*objectives.PER_REQUEST, "share"])


def headers(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read `NAME=VALUE`; `NAME=$ENV` is the same as `NAME=${ENV}`.

    No message repeats a value: it may be a secret.
    """
    read: dict[str, str] = {}
    for value in values:
        name, equals, text = (part.strip() for part in value.partition("="))
        if not equals:
            raise click.BadParameter(f"{name.partition(':')[0]}: expected NAME=VALUE, like x-team=search")
        if variable := _VARIABLE.fullmatch(text):
            text = f"${{{variable[1]}}}"
        if problem := request_headers.problem(name, text):
            raise click.BadParameter(problem)
        if name.lower() in (before.lower() for before in read):
            raise click.BadParameter(f"{name} is given twice")
        read[name] = text
    return read


def body(context: click.Context, option: click.Parameter, value: str | None) -> dict[str, Any]:
    """Read a JSON object of fields for every body."""
    if value is None:
        return {}
    try:
        fields = json.loads(value, parse_constant=_no_number)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}; expected an object, like '{{\"top_k\": 5}}'") from None
    if not isinstance(fields, dict):
        raise click.BadParameter(f"found {value}, expected a JSON object, like '{{\"top_k\": 5}}'")
    for name in fields:
        if name in OURS:
            raise click.BadParameter(f"{name} is set by {OURS[name]}: use that")
    return fields


def page(context: click.Context, option: click.Parameter, value: str) -> str:
    """Read the URL of a metrics page."""
    if value and not _PAGE.fullmatch(value):
        raise click.BadParameter(f"found {value!r}, expected an http(s) URL, like http://127.0.0.1:8000/metrics")
    return value


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _read(read: Callable[[], T], names: Iterable[str], known: list[str]) -> T:
    """Return what `read` returns; turn its ValueError into a usage error, with the name that was probably meant."""
    try:
        return read()
    except ValueError as error:
        from difflib import get_close_matches

        meant = [close for name in names if name not in known for close in get_close_matches(name, known, 1)]
        raise click.BadParameter(f"{error}{f'; did you mean {meant[0]}?' if meant else ''}") from None
