"""What a profile may add to a rollout: who sees the new colour first, and commands of the project."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tailrace import credentials, request_headers
from tailrace.profile.section import EnvironmentName, PositiveSeconds, ProfileSection

_TAKEN = re.compile(r"host|cookie|accept|content-type|forwarded|x-real-ip|x-request-id|x-(?:forwarded|envoy)-.*", re.I)
"""Headers that say something else, or that the edge sets itself."""
_COOKIE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]+")  # RFC 6265, without quotes


def _header(text: Any) -> str:
    """Return `text` as "name: value", the name in lower case; raises ValueError with what to write."""
    if text == "":
        return ""
    name, value = _split(text, ":", 'header: "x-canary: always"')
    if reason := request_headers.problem(name, value):
        raise ValueError(f"{reason}; choose a header that says nothing else")
    if _TAKEN.fullmatch(name):
        raise ValueError(f'{name} has a meaning of its own; choose another one, as "x-canary: always"')
    return _compared(f"{name.lower()}: {value}", value)


def _cookie(text: Any) -> str:
    """Return `text` as "name=value"; raises ValueError with what to write."""
    if text == "":
        return ""
    name, value = _split(text, "=", 'cookie: "canary=always"')
    if not _COOKIE_NAME.fullmatch(name) or not _COOKIE_VALUE.fullmatch(value):
        raise ValueError(f'{text!r} is not one cookie; expected "name=value" without blanks, quotes, commas or ;')
    if credentials.SECRET_NAME.search(name.replace("-", "_")):
        raise ValueError(f"{name} is named like a credential, and would stand in a file; choose another name")
    return _compared(f"{name}={value}", value)


def _split(text: Any, by: str, example: str) -> tuple[str, str]:
    if not isinstance(text, str):
        raise ValueError(f"expected one text, quoted, as {example}")
    name, found, value = (part.strip() for part in text.partition(by))
    if not (name and found and value):
        raise ValueError(f"expected a name and a value, as {example}")
    return name, value


def _compared(whole: str, value: str) -> str:
    if request_headers.VARIABLE.search(value) or value == "*":
        raise ValueError(f"the value {value!r} is compared letter by letter; write what the testers send")
    return whole


class Canary(ProfileSection):
    """Who sees the new colour first: requests with one header or one cookie, for a while, before the weights."""

    header: Annotated[str, BeforeValidator(_header)] = ""
    cookie: Annotated[str, BeforeValidator(_cookie)] = ""
    for_s: PositiveSeconds = 30.0
    """How long; the gate judges the new colour meanwhile, beside the old one."""
    min_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """With fewer of them, the new colour is not judged to be good."""
    too_few: Literal["proceed", "wait"] = "proceed"
    """What to do then: go on without a judgement and say so, or wait for more."""
    wait_s: PositiveSeconds = 600.0
    """How much longer to wait at most; after that, the rollout is rolled back."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.header) == bool(self.cookie):
            raise ValueError('expected either header: "name: value" or cookie: "name=value"')
        return self

    @property
    def part(self) -> Literal["header", "cookie"]:
        return "header" if self.header else "cookie"

    @property
    def name(self) -> str:
        return self._both[0]

    @property
    def value(self) -> str:
        return self._both[1]

    @property
    def _both(self) -> tuple[str, str]:
        name, _, value = self.header.partition(": ") if self.header else self.cookie.partition("=")
        return name, value


def _words(command: Any) -> Any:
    """Raise ValueError when a command is one text: no shell would take it apart."""
    if isinstance(command, str):
        raise ValueError(
            f"expected a list of words, as [{', '.join(command.split()) or './migrate'}]: no shell reads it"
        )
    return command


def _never_abort(on_failure: Any) -> Any:
    if on_failure != "ignore":
        raise ValueError("expected ignore, or no on_failure: a rollback is never stopped by its hook")
    return on_failure


class Hook(ProfileSection):
    """A command of the project that a rollout runs, and waits for."""

    command: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_words), Field(min_length=1)]
    """Program and arguments; it runs in the root of the project."""
    timeout_s: PositiveSeconds = 60.0
    """After that it is ended, with all that it has started: a failure."""
    on_failure: Literal["abort", "ignore"] = "abort"
    secrets: tuple[EnvironmentName, ...] = ()
    """Names of environment variables that it gets beside the usual ones; never stored."""


class RollbackHook(Hook):
    """A command that runs after a rollback; it cannot stop one."""

    on_failure: Annotated[Literal["ignore"], BeforeValidator(_never_abort)] = "ignore"


class Hooks(ProfileSection):
    """Commands of the project at fixed points of a rollout."""

    before_deploy: Hook | None = None
    """Before anything is started."""
    after_switch: Hook | None = None
    """When all traffic is on the new colour, while the old one is still warm."""
    on_rollback: RollbackHook | None = None
    """When a rollout has gone back, before it ends."""
