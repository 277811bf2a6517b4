"""Patterns of credentials, for profiles, images and the files of a run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

PATTERNS: dict[str, re.Pattern[str]] = {
    "OpenAI-style key": re.compile(r"\bsk-(?:proj-|svcacct-|admin-|ant-)?[A-Za-z0-9_-]{20,}"),
    "AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})"),
    "Google API key": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "Slack token": re.compile(r"\bxox[abeprs]-[0-9A-Za-z-]{10,}"),
    "Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"),
    "bearer header": re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{20,}=*"),
    "password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]{3,}@"),
}

SECRET_NAME = re.compile(r"(?i)(?:^|_)(?:api_?key|key|secret|token|passwd|password|credentials?)$")
"""Matches the names of settings whose values have to come from the environment."""


class Finding(NamedTuple):
    """The kind and place of a credential, without its text."""

    kind: str
    start: int
    length: int


def masked(text: str) -> str:
    """Return `text` with the kind of each credential in its place; of a private key, all that follows up to its end."""
    text = re.sub(r"(?s)-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----.*?(?:-----END[^\n]*|\Z)", "[private key]", text)
    for kind, pattern in PATTERNS.items():
        text = pattern.sub(f"[{kind}]", text)
    return text


def find(text: str) -> Iterator[Finding]:
    """Yield the kind and position of everything in `text` that looks like a credential."""
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            yield Finding(kind, match.start(), match.end() - match.start())
