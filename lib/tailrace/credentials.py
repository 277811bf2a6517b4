"""What is a credential: texts (of profiles, images and runs), names of settings, HTTP headers and queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

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

HEADERS: Final = (
    "authorization",  # OpenAI and most others
    "api-key",  # Azure: https://learn.microsoft.com/azure/ai-services/openai/reference
    "ocp-apim-subscription-key",  # Azure's API Management
    "x-api-key",  # Anthropic: https://docs.anthropic.com/en/api/overview
    "x-goog-api-key",  # Google: https://ai.google.dev/api
    "x-goog-iam-authorization-token", "x-serverless-authorization",  # https://cloud.google.com/run/docs/authenticating
    "x-amz-security-token",  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
    "cf-aig-authorization", "x-auth-key", "x-auth-email",  # https://developers.cloudflare.com/ai-gateway/configuration/
    "cf-access-client-id", "cf-access-client-secret", "cf-access-jwt-assertion", "cf-access-token",
    "x-litellm-api-key", "x-portkey-api-key", "x-portkey-virtual-key", "helicone-auth", "x-rapidapi-key", "apikey",
    "xi-api-key",  # ElevenLabs
    "proxy-authorization", "cookie",
)  # fmt: skip
"""Headers, in lower case, that say who asks, by the documentation of providers and gateways."""
_HEADERS: Final = frozenset(HEADERS)
_HEADER: Final = re.compile(
    r"(?:.*[-_])?(?:authorization|auth|api-?key|key|token|secret|passwd|password|credentials?|signature|cookie)"
)
_ARGUMENT: Final = re.compile(r"(?:.*[-_.])?(?:auth|api_?key|key|token|secret|password|credential|sig|signature)")
_NO_SECRET: Final = frozenset(
    {"idempotency-key", "x-idempotency-key", "sec-websocket-key", "x-trace-options-signature"}
)


class Finding(NamedTuple):
    """The kind and place of a credential, without its text."""

    kind: str
    start: int
    length: int


@lru_cache(maxsize=1024)  # callers send the same names again and again
def in_header(name: str) -> bool:
    """Whether a header of this name (lower case) may hold a credential: one that is known, or named like one."""
    return name in _HEADERS or (name not in _NO_SECRET and _HEADER.fullmatch(name) is not None)


def in_argument(name: str) -> bool:
    """Whether an argument of this name, in the query of a URL, may hold a credential."""
    return _ARGUMENT.fullmatch(name.lower()) is not None


def without_arguments(query: str) -> str:
    """Return the query of a URL without the arguments that may hold a credential."""
    pairs = parse_qsl(query, keep_blank_values=True)
    kept = [(name, value) for name, value in pairs if not in_argument(name)]
    return query if len(kept) == len(pairs) else urlencode(kept)


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
