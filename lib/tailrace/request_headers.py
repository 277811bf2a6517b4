"""Headers that a user adds to requests. `${NAME}` in a value is filled in from the environment when it is sent.

What is kept, shown and handed on is always the template; only `filled` returns values, and only to a sender.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from tailrace import credentials
from tailrace.errors import PartMissing

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A variable of the environment, in a value."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_FRAMING = {"connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "trailer"}


def problem(name: str, value: str) -> str:
    """Return why the header cannot be sent, or must not be written down like this; "" when it is right."""
    if not _NAME.fullmatch(name):
        return f"{name!r} is not the name of a header"
    if name.lower() in _FRAMING:
        return f"{name} is set by the sender of the request"
    if "${" in VARIABLE.sub("", value):
        return f"{name} holds '${{' that begins no ${{NAME}} of an environment variable"
    if not _VALUE.fullmatch(value):
        return f"{name} holds a line break, or another character that no header may hold"
    if credentials.in_header(name.lower()) and value and not VARIABLE.search(value):
        return f"{name} is a credential; expected the name of an environment variable in it: ${{NAME}}"
    return ""


def variables(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the environment variables that these headers need, in order."""
    return tuple(dict.fromkeys(name for value in headers.values() for name in VARIABLE.findall(value)))


def filled(headers: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers to send, by their names in lower case; a header whose value is empty is left out.

    Raises PartMissing when a variable is not set, or holds what a header may not hold.
    """
    for name in variables(headers):
        if reason := missing(name, environment):
            raise PartMissing(f"headers: {reason}")
    values = {name.lower(): VARIABLE.sub(lambda found: environment[found[1]], v) for name, v in headers.items()}
    return {name: value for name, value in values.items() if value}


def missing(name: str, environment: Mapping[str, str]) -> str:
    """Return why the variable cannot be put into a header, and what to do; "" when it can."""
    value = environment.get(name, "")
    if not value:
        return (
            f"environment variable {name} is not set; expected it to hold the credential. "
            f"Set it where tailrace runs: export {name}=…"
        )
    if not _VALUE.fullmatch(value):
        return f"environment variable {name} holds a line break, or another character that no header may hold"
    return ""


def redacted(text: str, headers: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> str:
    """Return `text` with `${NAME}` in place of the value of each variable of these headers."""
    for name in variables(headers):
        if value := environment.get(name):
            text = text.replace(value, f"${{{name}}}")
    return text
