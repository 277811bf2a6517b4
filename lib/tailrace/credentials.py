"""What is a credential: texts (of profiles, images and runs), names of settings, HTTP headers and queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

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
