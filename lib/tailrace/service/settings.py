"""The service's settings: read once from the environment and validated together, with one line per problem.

`TABLE` is the one list of them: the parser, the command's help and the tests use it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from tailrace import credentials
from tailrace.errors import SettingsError
from tailrace.service import stores

if TYPE_CHECKING:
    from tailrace.service.policy import PolicyDocument

PREFIX = "TAILRACE_"
DAY_S = 86_400.0


class Setting(NamedTuple):
    """One environment variable: its field of `Settings`, its parser, the values that it takes, and its meaning."""

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


def _limits_ms(text: str) -> tuple[float, ...]:
    limits = {float(part) for part in text.split(",")}
    if not all(0 < limit <= DAY_S * 1e3 for limit in limits):
        raise ValueError
    return tuple(sorted(limits))


def _policy(text: str) -> PolicyDocument:
    from tailrace.service import policy  # only here: the help must not wait for the client

    return policy.parse(text)


_SECONDS = "seconds, above 0 and at most 86400"
_LABEL = r"[A-Za-z0-9._:+-]{0,128}"

TABLE: tuple[Setting, ...] = (
    Setting(
        "provider_url", _url, "an http(s) URL without user name or query", "base URL of the provider, with its /v1"
    ),
    Setting("api_key_env", _matching(r"[A-Za-z_]\w*"), "a variable's name", "name of the variable with the own key"),
    Setting("release", _matching(_LABEL), "letters, digits and ._:+-", "sent as x-release"),
    Setting("colour", _matching(r"[a-z]{0,32}"), "lower-case letters", "sent as x-colour"),
    Setting("generation", _whole(0, 2**53), "a whole number from 0", "generation of the edge's routes at the start"),
    Setting(
        "open",
        _matching("yes|no"),
        "yes or no",
        "yes lets it listen beyond loopback: the service does not ask who calls, so that is settled elsewhere",
    ),
    Setting(
        "anonymous",
        _matching("shared|apart"),
        "shared or apart",
        "whether callers without a credential get each other's cached answers; apart: theirs are not cached",
    ),
    Setting("restarts", _whole(0, 2**53), "a whole number from 0", "how often its supervisor has started it again"),
    Setting("model", _matching(r"\S{1,256}"), "a model's name", "used by POST /ask unless its config names one"),
    Setting("cache", stores.parse, f"one of: {stores.EXPECTED}", "store of the cached responses"),
    Setting("cache_max_bytes", _whole(1, 2**50), "bytes, above 0", "size of the store (Redis has its own limit)"),
    Setting("cache_ttl_s", _seconds, _SECONDS, "age at which a cached response expires"),
    Setting("retry_attempts", _whole(1, 100), "a whole number from 1 to 100", "attempts in all; 1 never retries"),
    Setting(
        "deadline_s",
        _seconds,
        _SECONDS,
        "limit until an answer begins, waits and all attempts included; a plain one is whole by then",
    ),
    Setting("attempt_timeout_s", _seconds, _SECONDS, "the same for one attempt; unset: until the deadline"),
    Setting(
        "silence_s", _seconds, _SECONDS, "limit between the bytes of a stream, or of a caller; a stream has no other"
    ),
    Setting(
        "slo_ms",
        _limits_ms,
        "milliseconds, separated by commas, like 50,250",
        "bounds that the histograms of durations get a bucket for",
    ),
    Setting("drain_s", _drain, "seconds, from 0 to 86400", "time for requests in flight after SIGTERM"),
    Setting("max_body_bytes", _whole(1, 2**40), "bytes, above 0", "limit for a request's body; 413 above it"),
    Setting("max_head_bytes", _whole(1024, 2**24), "bytes, from 1024", "limit for a request's head; 431 above it"),
    Setting("max_bodies_bytes", _whole(1, 2**40), "bytes, above 0", "limit for all requests' bodies; 503 beyond it"),
    Setting(
        "max_in_flight",
        _whole(1, 16_000),
        "a whole number from 1 to 16000",
        "limit of requests in flight; 503 beyond it; unset: what the limit of open files allows",
    ),
    Setting("ready_timeout_s", _seconds, _SECONDS, "how long /readyz waits for the provider"),
    Setting(
        "policy",
        _policy,
        "a Policy in JSON",
        'the client\'s Policy in JSON, like {"limits": {"requests_per_min": 600}}: cache, retry, limits, spend, guard, '
        "fallbacks and more (runbook/procedures/client.md)",
    ),
)
SINGLE: Final[Mapping[str, tuple[str, str]]] = {
    "cache": ("cache", "store"),
    "cache_ttl_s": ("cache", "ttl_s"),
    "retry_attempts": ("retry", "attempts"),
    "deadline_s": ("limits", "first_byte_s"),
    "attempt_timeout_s": ("limits", "attempt_timeout_s"),
    "silence_s": ("limits", "silence_s"),
}
"""The settings that say the same as a field of the policy, with its section: only one of the two may be given."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The validated settings. The key and the cache's URL may be secret, and are never shown."""

    provider_url: str
    api_key_env: str = "OPENAI_API_KEY"
    api_key: str = field(default="", repr=False)
    release: str = "unreleased"
    colour: str = ""
    generation: int = 0
    open: str = "no"
    anonymous: str = "shared"
    restarts: int = 0
    model: str = "gpt-4o-mini"
    cache: str = field(default="memory", repr=False)
    cache_max_bytes: int = 64 << 20
    cache_ttl_s: float = 3600.0
    retry_attempts: int = 3
    deadline_s: float = 600.0
    """As the official SDK waits."""
    attempt_timeout_s: float | None = None
    silence_s: float = 300.0
    slo_ms: tuple[float, ...] = (100.0, 250.0, 500.0, 1000.0)
    drain_s: float = 30.0
    max_body_bytes: int = 20 << 20
    max_head_bytes: int = 64 << 10
    max_bodies_bytes: int = 1 << 30
    max_in_flight: int | None = None
    ready_timeout_s: float = 1.0
    policy: PolicyDocument | None = field(default=None, repr=False)
    """What is said beyond the settings above. Of a setting that it says, the field above has the same value."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings; raises one SettingsError with a line for each problem."""
        table = {setting.name: setting for setting in TABLE}
        variables = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
        problems = [_unknown(name, table) for name in variables if name not in table]
        values: dict[str, Any] = {}
        for name, setting in table.items():
            if name not in variables:
                continue
            try:
                values[setting.field] = setting.parse(variables[name])
            except ValueError:
                problems.append(f"{name}: found {shown(variables[name])}; expected {setting.expected}")
            except SettingsError as error:
                problems.append(f"{name}: {error}")
        if f"{PREFIX}PROVIDER_URL" not in variables:
            problems.insert(0, f"{PREFIX}PROVIDER_URL: not set; expected {TABLE[0].expected}: the {TABLE[0].meaning}")
        if (policy := values.get("policy")) is not None:
            problems += _twice(policy, values)
            missing = [f"{PREFIX}POLICY: {problem}" for problem in policy.missing(environment)]
            try:
                values |= {} if missing else _said(policy, environment)
            except SettingsError as error:
                missing = [f"{PREFIX}POLICY: {error}"]
            problems += missing
        key, problem = _key(environment, values.get("api_key_env", cls.api_key_env))
        if problems := [*problems, *problem]:
            raise SettingsError("\n".join(problems))
        return cls(**values, api_key=key)


def _key(environment: Mapping[str, str], name: str) -> tuple[str, list[str]]:
    key = environment.get(name, "").strip()
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        return "", [f"{name}: the key has blanks or control characters; expected printable ASCII"]
    return key, []


def _twice(policy: PolicyDocument, values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each setting that the policy says as well."""
    for name, (section, part) in SINGLE.items():
        if name in values and policy.says(section, part):
            place = f"{section}.{part}" if policy.parts[section] is not None else section
            yield f"{PREFIX}{name.upper()}: {PREFIX}POLICY says it, too ({place}); say it in one of them"
    if values.get("cache") == "off" and policy.parts.get("cache") and not policy.says("cache", "store"):
        yield f"{PREFIX}CACHE: found off, and {PREFIX}POLICY has a cache; leave one of them out"


def _said(policy: PolicyDocument, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the policy, and those of its values that other parts of the service need as well."""
    whole = policy.resolved(environment)
    said = {name: whole.value(*place) for name, place in SINGLE.items()} | {"policy": whole}
    if whole.parts.get("cache", {}) is None:
        said["cache"] = "off"
    return {name: value for name, value in said.items() if value is not None}


def _unknown(name: str, known: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(known)
    return f"{name}: unknown setting; {hint}"


def shown(value: object) -> str:
    """Return a value as it is shown in a message, unless it may hold a credential."""
    text = value if isinstance(value, str) else json.dumps(value)
    if "@" in text or "password" in text.lower() or any(True for _ in credentials.find(text)):
        return "a value that may hold a credential (not shown)"
    cut = text if len(text) <= 80 else text[:80] + "…"
    return repr(cut) if isinstance(value, str) else cut
