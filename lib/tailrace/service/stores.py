"""The stores that TAILRACE_CACHE can name: the one list of them, with how each is named and opened."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tailrace.errors import SettingsError

if TYPE_CHECKING:
    from tailrace.client.stores import Store

REDIS_URL = re.compile(r"rediss?://(?:[^\s/?#]*@)?[^\s/@?#]+(?:/\d+)?")


@dataclass(frozen=True)
class Kind:
    """One kind of store; the text of the setting begins with its name."""

    expected: str
    accepts: Callable[[str], bool]
    open: Callable[[str, int], Store | None]
    """Takes the text of the setting and the limit in bytes."""
    package: str = ""
    """The package that the store needs, installed by the extra of the same name."""


def parse(text: str) -> str:
    """Return `text` if it names a store; raises ValueError if not, SettingsError if the store's package is missing."""
    kind = KINDS.get(name(text))
    if kind is None or not kind.accepts(text):
        raise ValueError
    if kind.package and importlib.util.find_spec(kind.package) is None:
        raise SettingsError(
            f"{kind.expected} needs the package {kind.package}, which is not installed here; "
            f"type: pip install 'tailrace[{kind.package}]'"
        )
    return text


def name(text: str) -> str:
    """Return the name of the kind of store: all of the setting that may be logged, for a URL may hold a password."""
    return text.partition(":")[0]


def open_store(text: str, max_bytes: int) -> Store | None:
    """Return the store that `text` names; None when the cache is off."""
    return KINDS[name(text)].open(text, max_bytes)


def open_probe(text: str, max_bytes: int, timeout_s: float, store: Store) -> Store:
    """Return the store to try in a health check: `store` itself, or another connection to the same file.

    A file that another process has locked must not hold up the connection that requests use.
    """
    if name(text) != "sqlite":
        return store
    from tailrace.client.stores import Sqlite

    return Sqlite(_path(text), max_bytes, timeout_s)


def _memory(text: str, max_bytes: int) -> Store:
    from tailrace.client.stores import Memory

    return Memory(max_bytes)


def _sqlite(text: str, max_bytes: int) -> Store:
    from tailrace.client.stores import Sqlite

    return Sqlite(_path(text), max_bytes)


def _redis(text: str, max_bytes: int) -> Store:
    from tailrace.client.stores.redis import Redis

    return Redis(text)  # its own `maxmemory` is the limit


def _off(text: str, max_bytes: int) -> None:
    return None


def _path(text: str) -> str:
    return text.removeprefix("sqlite:")


def _in_a_folder(text: str) -> bool:
    return text.startswith("sqlite:") and bool(_path(text)) and Path(_path(text)).absolute().parent.is_dir()


def _is_redis_url(text: str) -> bool:
    return REDIS_URL.fullmatch(text) is not None


_REDIS = Kind("redis://HOST:PORT/DATABASE", _is_redis_url, _redis, package="redis")
KINDS: Mapping[str, Kind] = {
    "memory": Kind("memory", "memory".__eq__, _memory),
    "off": Kind("off", "off".__eq__, _off),
    "sqlite": Kind("sqlite:PATH in a folder that exists", _in_a_folder, _sqlite),
    "redis": _REDIS,
    "rediss": _REDIS,
}
EXPECTED = ", ".join(dict.fromkeys(kind.expected for kind in KINDS.values()))
