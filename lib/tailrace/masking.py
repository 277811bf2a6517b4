"""What must not leave the process: the values of known secrets, in every form in which a text may hold them.

A provider repeats a key in its refusal, a service prints its environment, a URL holds a password. So every text of
others goes through a `Mask` before it is written down, shown or sent on.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final
from urllib.parse import quote, quote_plus

from tailrace import credentials

SHORTEST: Final = 6
"""The fewest characters of a secret that is named in the profile: shorter ones would match ordinary text everywhere."""
SHORTEST_UNNAMED: Final = 12
"""The same for a variable of the environment that is only named like a secret: its value may be an ordinary word."""
_NO_SECRET: Final = re.compile(r"[./~]\S*|[\d.,:]+|[a-z]+(?:[ _-][a-z]+){0,3}")


def known(environment: Mapping[str, str], named: Iterable[str] = (), *, all_: bool = True) -> dict[str, str]:
    """Return the secrets in `environment`, by name: those of `named`, and all that are named like one where `all_`."""
    found = {name: value for name in named if len(value := environment.get(name, "")) >= SHORTEST}
    for name, value in environment.items() if all_ else ():
        unnamed = name not in found and credentials.SECRET_NAME.search(name) and len(value) >= SHORTEST_UNNAMED
        if unnamed and not is_plain(value):
            found[name] = value
    return found


def is_plain(value: str) -> bool:
    """Whether `value` is a path, a number or plain words: a variable may be named like a secret and hold none."""
    return _NO_SECRET.fullmatch(value) is not None


@dataclass(frozen=True, repr=False)
class Mask:
    """Replaces known secrets and whatever looks like a credential; without secrets it knows the latter only."""

    forms: tuple[tuple[str, str], ...] = ()
    """A form of a secret, with the name of the secret; the longest first."""

    @classmethod
    def of(cls, secrets: Mapping[str, str]) -> Mask:
        """Return the mask of `secrets`, by name."""
        written = {form: name for name, value in secrets.items() for form in forms(value)}
        return cls(tuple(sorted(written.items(), key=lambda pair: -len(pair[0]))))

    def __call__(self, text: str) -> str:
        """Return `text` with the name of each known secret, and the kind of each other credential, in its place."""
        return credentials.masked(self.values(text))

    def values(self, text: str, whole: bool = True) -> str:
        """Return `text` without the values of the known secrets; what else looks like a credential stays.

        Of a text that is `whole`, also the beginning of a secret is masked where the text was cut.
        """
        for form, name in self.forms:
            if form in text:
                text = text.replace(form, f"[value of {name}]")
        for form, name in self.forms if whole else ():
            if form[:SHORTEST] in text:
                text = _without_beginning(text, form, f"[value of {name}]")
        return text

    def named_in(self, text: str) -> Iterator[str]:
        """Yield the names of the secrets whose values are in `text`, in any form."""
        yield from dict.fromkeys(name for form, name in self.forms if form in text)

    def document(self, content: Any) -> Any:
        """Return JSON-able `content` with all of its texts masked, keys included."""
        if isinstance(content, str):
            return self(content)
        if isinstance(content, Mapping):
            return {self(str(key)): self.document(value) for key, value in content.items()}
        if isinstance(content, list | tuple):
            return [self.document(value) for value in content]
        return content


def _without_beginning(text: str, form: str, replacement: str) -> str:
    """Return `text` without the beginning of `form` where the text was cut: at its end, or before an ellipsis."""
    kept, begin = [], 0
    at = text.find(form[:SHORTEST])
    while at >= 0:
        end = at + SHORTEST
        while end < len(text) and end - at < len(form) and text[end] == form[end - at]:
            end += 1
        if end == len(text) or text[end : end + 2].lstrip(" ").startswith("…"):
            kept += [text[begin:at], replacement]
            begin = end
        at = text.find(form[:SHORTEST], end)
    return "".join((*kept, text[begin:]))


def forms(value: str) -> tuple[str, ...]:
    """Return `value` as texts hold it: plain, escaped for JSON, URLs and HTML, and in base64 (RFC 4648)."""
    in_json = (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], value.replace("/", "\\/"))
    quoted = (quote(value, safe=""), quote(value), quote_plus(value))
    lowered = (re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), text) for text in quoted)
    return tuple(dict.fromkeys(chain((value, html.escape(value)), in_json, quoted, lowered, _in_base64(value))))


def _in_base64(value: str) -> Iterator[str]:
    """Yield the characters that stand for `value` whatever is encoded before and after it, in both alphabets."""
    raw = value.encode("utf-8", "surrogateescape")
    for before, begin in enumerate((0, 2, 3)):
        encoded = base64.b64encode(b"\0" * before + raw).decode()
        text = encoded[begin : (before + len(raw)) * 8 // 6]
        yield text
        yield text.translate(str.maketrans("+/", "-_"))
