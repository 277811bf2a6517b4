"""The service's settings: read once from the environment, validated whole, refused with one line per problem.

`TABLE` is the only list of them: the parser, the command's help and the tests read it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self

from tailrace import credentials
from tailrace.errors import SettingsError

PREFIX = "TAILRACE_"
DAY_S = 86_400.0


class Setting(NamedTuple):
    """One environment variable: `field` of `Settings`, how it is read, and what is expected of it."""

    field: str
    parse: Callable[[str], Any]
    expected: str
    meaning: str

    @property
    def name(self) -> str:
        return PREFIX + self.field.upper()


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= DAY_S:
        raise ValueError
    return value


def _drain(text: str) -> float:
    return 0.0 if float(text) == 0 else _seconds(text)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise ValueError
        return value

    return parse


def _matching(pattern: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return parse


def _url(text: str) -> str:
    return _matching(r"https?://[^\s/@?#]+(?:/[^\s?#@]*)?")(text).rstrip("/")


def _cache(text: str) -> str:
    path = text.removeprefix("sqlite:")
    if text not in ("memory", "off") and (path == text or not path or not Path(path).absolute().parent.is_dir()):
        raise ValueError
    return text


def _limits_ms(text: str) -> tuple[float, ...]:
    limits = {float(part) for part in text.split(",")}
    if not all(0 < limit <= DAY_S * 1e3 for limit in limits):
        raise ValueError
    return tuple(sorted(limits))


_SECONDS = "seconds, above 0 and at most 86400"
_LABEL = r"[A-Za-z0-9._:+-]{0,128}"

TABLE: tuple[Setting, ...] = (
    Setting("provider_url", _url, "an http(s) URL without user name or query", "base of the API behind, with its /v1"),
    Setting("api_key_env", _matching(r"[A-Za-z_]\w*"), "a variable's name", "variable with the service's own key"),
    Setting("release", _matching(_LABEL), "letters, digits and ._:+-", "said in x-release"),
    Setting("colour", _matching(r"[a-z]{0,32}"), "lower-case letters", "said in x-colour"),
    Setting("generation", _whole(0, 2**53), "a whole number from 0", "of the edge's routes when it was started"),
    Setting("model", _matching(r"\S{1,256}"), "a model's name", "asked by POST /ask when its config names none"),
    Setting("cache", _cache, "memory, off, or sqlite:PATH in a folder that exists", "where answers are kept"),
    Setting("cache_max_bytes", _whole(1, 2**50), "bytes, above 0", "beyond it the oldest answers leave"),
    Setting("cache_ttl_s", _seconds, _SECONDS, "an answer's age at which it is not used any more"),
    Setting("retry_attempts", _whole(1, 100), "a whole number from 1 to 100", "tries in all; 1 never retries"),
    Setting("deadline_s", _seconds, _SECONDS, "for a whole call, waits between attempts included"),
    Setting("attempt_timeout_s", _seconds, _SECONDS, "for one attempt"),
    Setting(
        "slo_ms",
        _limits_ms,
        "milliseconds with commas between, like 50,250",
        "each is a bucket of the duration histogram",
    ),
    Setting("drain_s", _drain, "seconds, from 0 to 86400", "what requests in flight get after SIGTERM"),
    Setting("max_body_bytes", _whole(1, 2**40), "bytes, above 0", "a larger request is answered with 413"),
    Setting("ready_timeout_s", _seconds, _SECONDS, "how long /readyz waits for the provider"),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the environment said, checked. The key is the only secret, and never shown."""

    provider_url: str
    api_key_env: str = "OPENAI_API_KEY"
    api_key: str = field(default="", repr=False)
    release: str = "unreleased"
    colour: str = ""
    generation: int = 0
    model: str = "gpt-4o-mini"
    cache: str = "memory"
    cache_max_bytes: int = 64 << 20
    cache_ttl_s: float = 3600.0
    retry_attempts: int = 3
    deadline_s: float = 30.0
    attempt_timeout_s: float = 20.0
    slo_ms: tuple[float, ...] = (100.0, 250.0, 500.0, 1000.0)
    drain_s: float = 30.0
    max_body_bytes: int = 20 << 20
    ready_timeout_s: float = 1.0

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings, or raise one `SettingsError` with a line for each thing that is wrong."""
        table = {setting.name: setting for setting in TABLE}
        given = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
        problems = [_unknown(name, table) for name in given if name not in table]
        values: dict[str, Any] = {}
        for name, setting in table.items():
            if name not in given:
                continue
            try:
                values[setting.field] = setting.parse(given[name])
            except ValueError:
                problems.append(f"{name}: found {_shown(given[name])}; expected {setting.expected}")
        if f"{PREFIX}PROVIDER_URL" not in given:
            problems.insert(0, f"{PREFIX}PROVIDER_URL: not set; expected {TABLE[0].expected}: the {TABLE[0].meaning}")
        key, problem = _key(environment, values.get("api_key_env", cls.api_key_env))
        if problems := [*problems, *problem]:
            raise SettingsError("\n".join(problems))
        return cls(**values, api_key=key)


def _key(environment: Mapping[str, str], name: str) -> tuple[str, list[str]]:
    key = environment.get(name, "").strip()
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        return "", [f"{name}: holds a key with blanks or control characters; expected printable ASCII"]
    return key, []


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
    return f"{name}: unknown setting; {hint}"


def _shown(text: str) -> str:
    """The found value, unless it may hold a credential."""
    if "@" in text or any(True for _ in credentials.find(text)):
        return "a value that may hold a credential (not shown)"
    return repr(text if len(text) <= 80 else text[:80] + "…")
