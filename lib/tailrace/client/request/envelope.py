"""The envelope of a request: what its method, URL and headers say, before its body is read.

A client sends the same envelope again and again, so each is read once and remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from tailrace.client.request.credential import fingerprint
from tailrace.client.request.key import asker
from tailrace.client.request.key_headers import LeftOut, neutral
from tailrace.client.wire import Headers, Request, header

PATHS: Final = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/completions": "text_completion",
}
RESOURCES: Final = frozenset(
    {"assistants", "audio", "batches", "chat", "containers", "conversations", "embeddings", "evals", "files",
     "fine_tuning", "images", "models", "moderations", "realtime", "responses", "skills", "threads", "uploads",
     "vector_stores", "videos"}
)  # fmt: skip
"""Other resources of the API. They label metrics, so that no label is a path that a caller or a provider chose."""
PROVIDERS: Final = {
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "api.anthropic.com": "anthropic",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral_ai",
    "api.perplexity.ai": "perplexity",
    "api.x.ai": "x_ai",
}
"""Providers by the GenAI conventions of OpenTelemetry; any other address speaks OpenAI's API."""
_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)  # each field is read many times a call, and of a tuple that costs more
class Wishes:
    """The caller's `cache-control` for this call (RFC 9111 §5.2.1)."""

    lookup: bool = True
    store: bool = True
    max_age_s: float | None = None


ANY: Final = Wishes()


@dataclass(frozen=True, slots=True)
class Envelope:
    """`known` says that the policy understands the body of this operation."""

    operation: str
    origin: str  # "https://host:port"
    known: bool
    wishes: Wishes
    tagged: bool  # has an idempotency key of the caller's, or needs none because it is not a POST
    asker: bytes  # the part of the envelope that belongs to the cache key
    provider: str  # by the GenAI conventions of OpenTelemetry
    credential: int = 0  # tells accounts apart; see `fingerprint`


Reader: TypeAlias = Callable[[str, str, str, Headers], Envelope]
"""Returns the envelope of (tenant, method, URL, headers)."""


def reader(namespace: str, left_out: LeftOut = neutral) -> Reader:
    """Return a function that reads the envelopes of one policy, and remembers them."""
    return lru_cache(maxsize=_REMEMBERED)(partial(_read, namespace, left_out))


def read(request: Request, tenant: str = "", namespace: str = "", left_out: LeftOut = neutral) -> Envelope:
    """Return the envelope of one request."""
    return _read(namespace, left_out, tenant, request.method, request.url, request.headers)


def _read(namespace: str, left_out: LeftOut, tenant: str, method: str, url: str, headers: Headers) -> Envelope:
    scheme, host, path, query, _fragment = urlsplit(url)
    known = next((name for endpoint, name in PATHS.items() if path.endswith(endpoint)), "")
    posted = method.upper() == "POST"
    return Envelope(
        known or next((part for part in path.split("/") if part in RESOURCES), "request"),
        f"{scheme}://{host}",
        posted and known != "",
        wishes(headers),
        not posted or header(headers, "idempotency-key") is not None,
        asker(method, url, headers, tenant, namespace, left_out),
        provider_of(host),
        fingerprint(headers, query),
    )


def provider_of(host: str) -> str:
    """Return the provider at `host` (with or without a port), by the GenAI conventions."""
    name = "." + (urlsplit(f"//{host}").hostname or "")
    return next((provider for domain, provider in PROVIDERS.items() if name.endswith("." + domain)), "openai")


def wishes(headers: Headers) -> Wishes:
    """Read `cache-control`: `no-store` (no cache at all), `no-cache` (no lookup), `max-age=N` (no answer older than N).

    An N that is not a number counts as 0, so that nobody gets an older answer than he meant to accept.
    """
    value = header(headers, "cache-control")
    if value is None:
        return ANY
    parts = (part.partition("=") for part in value.split(","))
    directives = {name.strip().lower(): argument.strip() for name, _, argument in parts}
    if "no-store" in directives:
        return Wishes(lookup=False, store=False)
    age, max_age_s = directives.get("max-age"), None
    if age is not None:
        seconds = age.strip('"')
        max_age_s = float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0
    return Wishes(lookup="no-cache" not in directives, max_age_s=max_age_s)
