"""Patterns of credentials, for profiles, images and the files of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

PATTERNS: dict[str, re.Pattern[str]] = {
    "OpenAI-style key": re.compile(r"sk-(?<!\wsk-)(?:proj-|svcacct-|admin-|ant-)?[A-Za-z0-9_-]{20,}+"),
    "AWS access key": re.compile(r"A(?:KI|SI)A(?<!\wA.IA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(
        r"g(?:h[pousr]_(?<!\wgh._)[A-Za-z0-9]{36,}+|ithub_pat_(?<!\wgithub_pat_)[A-Za-z0-9_]{40,}+)"
    ),
    "Google API key": re.compile(r"AIza(?<!\wAIza)[0-9A-Za-z_-]{35}\b"),
    "Slack token": re.compile(r"xox[abeprs]-(?<!\wxox.-)[0-9A-Za-z-]{10,}+"),
    "Hugging Face token": re.compile(r"hf_(?<!\whf_)[A-Za-z0-9]{30,}+"),
    # One start for each run of letters, and a short look from the others: a run may hold thousands of "-eyJ".
    "JSON web token": re.compile(
        r"eyJ(?:(?<![\w-]eyJ)[A-Za-z0-9_-]{10,}+|(?<=-eyJ)[A-Za-z0-9_-]{10,256}+)"
        r"\.eyJ[A-Za-z0-9_-]{10,}+\.[A-Za-z0-9_-]{10,}+"
    ),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]{1,20} ){0,4}PRIVATE KEY-----"),
    "bearer header": re.compile(r"[Bb](?<!\w.)(?i:earer)\s{1,20}[A-Za-z0-9._~+/-]{20,}+={0,2}"),
    "password in a URL": re.compile(r'://[^\s/:@"<>]*+:[^\s/"<>]{3,}@'),
}
"""Each begins with letters that are looked for fast, and takes a time that grows with the text, not with its square."""

SECRET_NAME = re.compile(r"(?i)(?:^|_)(?:api_?key|key|secret|token|passwd|password|credentials?)$")
"""Matches the names of settings whose values have to come from the environment."""


_PRIVATE_KEY = re.compile(r"(?s)-----BEGIN (?:[A-Z]{1,20} ){0,4}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,80}-----|\Z)")
_REPLACED = {"password in a URL": "://[password in a URL]@"}
_ARGUMENT_OF_URL = re.compile(
    r"(?i)([?&](?:[a-z0-9_.-]{0,40}[_.-])?"
    r"(auth|api_?key|key|token|secret|passwd|password|credential|sig|signature)=)(?!\[)[^\s&#\"'<>\\\])}]++"
)


class Finding(NamedTuple):
    """The kind and place of a credential, without its text."""

    kind: str
    start: int
    length: int


def masked(text: str) -> str:
    """Return `text` with the kind of each credential in its place; of a private key, all that follows up to its end.

    The values of arguments in a URL that are named like a credential are replaced, too, however short they are.
    """
    text = _PRIVATE_KEY.sub("[private key]", text)
    for kind, pattern in PATTERNS.items():
        text = pattern.sub(_REPLACED.get(kind, f"[{kind}]"), text)
    return _ARGUMENT_OF_URL.sub(r"\1[\2]", text)


def find(text: str) -> Iterator[Finding]:
    """Yield the kind and position of everything in `text` that looks like a credential."""
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield Finding(kind, match.start(), match.end() - match.start())
