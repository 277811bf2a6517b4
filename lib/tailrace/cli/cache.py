"""The command that shows what a shared cache holds, and deletes a part of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tailrace.cli import terminal
from tailrace.errors import PartMissing

if TYPE_CHECKING:
    from tailrace.client.stores.contents import Contents, Line

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_MOST_LINES: Final = 50


@click.group(invoke_without_command=True)
@click.option("--store", metavar="STORE", help="sqlite:PATH or redis://HOST:PORT/DATABASE; or set TAILRACE_CACHE.")
@click.option("--profile", metavar="NAME", help="The store of this profile's service, in place of --store.")
@click.option("--prefix", default="tailrace:", show_default=True, help="What the keys in Redis begin with.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@click.pass_context
def cache(ctx: click.Context, store: str | None, profile: str | None, prefix: str, as_json: bool) -> None:
    """Show what a shared cache holds: size, entries and hit rate, by model and tenant (as a digest).

    Calls that joined another one, or got an expired answer, count as hits. `purge` deletes entries.
    """
    if store and profile:
        raise click.UsageError("--store and --profile both name a store; give one of them")
    ctx.obj = (_of_profile(profile) if profile else store or os.environ.get("TAILRACE_CACHE", ""), prefix, as_json)
    if ctx.invoked_subcommand is not None:
        return
    from tailrace.client.stores.contents import summary

    with _opened(ctx.obj[0], prefix) as contents:
        lines = summary(contents, time.time())
    _show(lines, as_json)


@cache.command()
@click.option("--model", default="", help="Only of this model, as it is asked for or as it answers.")
@click.option("--tenant", default="", help="Only of this tenant: its name, or the digest that is shown.")
@click.option("--older-than", metavar="AGE", help="Only what was stored so long ago, as 90s, 30m, 12h or 7d.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.pass_obj
def purge(place: tuple[str, str, bool], model: str, tenant: str, older_than: str | None, everything: bool) -> None:
    """Delete the entries that fit all that is given.

    An answer that is on its way meanwhile may be stored after it. What a process holds in memory is not reached.
    """
    if everything == bool(model or tenant or older_than):
        raise click.UsageError("say what to delete: --model, --tenant or --older-than, or else --all")
    from tailrace.client.stores import contents as stored

    before = time.time() - _age_s(older_than) if older_than else None
    with _opened(place[0], place[1]) as contents:
        removed, size_bytes = stored.purge(contents, stored.Selection(model, tenant, before))
    answer = {"removed": removed, "bytes": size_bytes}
    click.echo(terminal.document(answer) if place[2] else f"removed {removed} entries, {size_bytes} bytes")


@contextmanager
def _opened(text: str, prefix: str) -> Iterator[Contents]:
    """Open the store that `text` names. Raise PartMissing when there is none, or it cannot be read."""
    from tailrace.service import stores

    kind = stores.name(text)
    if kind not in ("sqlite", "redis", "rediss", "unix"):
        what = f"{kind or 'nothing'} is no store that others can read"
        raise click.UsageError(f"{what}; give --store sqlite:PATH or --store redis://HOST:PORT/DATABASE")
    contents = _sqlite(Path(text.partition(":")[2])) if kind == "sqlite" else _redis(text, prefix)
    try:
        yield contents
        contents.close()
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("sqlite3", "redis"):
            raise
        fact = str(error) if kind == "sqlite" else type(error).__name__  # Redis may name the URL with its password
        advice = "free some space, then call it again" if "full" in fact else "try again when it is not busy"
        raise PartMissing(f"the {kind} store failed: {fact}; {advice}") from None


def _sqlite(path: Path) -> Contents:
    import sqlite3

    from tailrace.client.stores.sqlite_contents import SqliteContents

    if not path.is_file():
        raise PartMissing(f"{path} is not there; a store is made with the first answer that is stored")
    try:
        return SqliteContents(path)
    except sqlite3.DatabaseError as error:
        raise PartMissing(f"{path} cannot be read as a store: {error}; give the file that Sqlite(…) has") from None


def _redis(url: str, prefix: str) -> Contents:
    try:
        import redis

        from tailrace.client.stores.redis_contents import RedisContents
    except ImportError:
        raise PartMissing("a store in Redis needs the package redis; type: pip install 'tailrace[redis]'") from None
    try:
        return RedisContents(url, prefix)
    except (redis.RedisError, ValueError) as error:  # the message may hold the URL with its password
        raise PartMissing(f"Redis cannot be reached: {type(error).__name__}; check the URL in --store") from None


def _of_profile(name: str) -> str:
    """Return the text that names the store of a profile's service."""
    from tailrace.cli import deployment

    loaded, root = deployment.load(name)
    said = loaded.policy.cache.store if loaded.policy.cache is not None else "off"
    text = os.environ.get("TAILRACE_CACHE", "") if "TAILRACE_CACHE" in loaded.service.secrets else ""
    text = text or loaded.service.environment.get("TAILRACE_CACHE", said)
    if variable := _VARIABLE.fullmatch(text):
        text = os.environ.get(variable[1], "")
        if not text:
            raise PartMissing(f"profile {name}: the variable {variable[1]} with the store's URL is not set; set it")
    kind, _, path = text.partition(":")
    return f"sqlite:{root / path}" if kind == "sqlite" else text


def _age_s(text: str) -> float:
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no age; expected a number and a unit, as 90s, 30m, 12h or 7d")
    return float(match[1]) * _UNITS_S[match[2]]


def _show(lines: list[Line], as_json: bool) -> None:
    from tailrace.cli.deployment import show
    from tailrace.client.stores.contents import total

    whole = total(lines)
    rows: list[dict[str, Any]] = [{**line._asdict(), "hit_rate": line.hit_rate} for line in (whole, *lines)]
    text = [
        f"{'model':<32} {'tenant':<24} {'entries':>8} {'expired':>8} {'bytes':>12} {'hits':>9} {'misses':>9}  hit rate"
    ]
    for line in (whole, *lines[:_MOST_LINES]):
        rate = "–" if line.hit_rate is None else f"{line.hit_rate:.1%}"
        numbers = f"{line.entries:>8} {line.expired:>8} {line.size_bytes:>12} {line.hits:>9} {line.misses:>9}"
        text.append(f"{line.model[:32] or '–':<32} {line.tenant or '–':<24} {numbers}  {rate}")
    if len(lines) > _MOST_LINES:
        text.append(f"… and {len(lines) - _MOST_LINES} more; --json has all")
    show({"total": rows[0], "lines": rows[1:]}, as_json, "\n".join(text))
