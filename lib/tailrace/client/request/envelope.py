"""The outside of a request: what its method, URL and headers say before anybody looks into its body.

A client sends the same outside again and again, so each is read once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tailrace.client.request.key import asker
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
"""What else of the API has a name. Names label metrics: never a part of a path that a caller or a provider chose."""
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
"""Their names by the GenAI conventions of OpenTelemetry; who is at any other address speaks OpenAI's API."""
_REMEMBERED: Final = 256


class Wishes(NamedTuple):
    """What the caller wants of the cache for this call, by `cache-control` (RFC 9111 §5.2.1)."""

    lookup: bool = True
    store: bool = True
    max_age_s: float | None = None


ANY: Final = Wishes()


class Envelope(NamedTuple):
    """`known` says that the body asks for an operation of which the policy knows what it means."""

    operation: str
    origin: str  # "https://host:port": what a breaker is about
    known: bool
    wishes: Wishes
    tagged: bool  # with an idempotency key of the caller's, or it is no POST and needs none
    asker: bytes  # what of it belongs to the cache key
    provider: str  # by the GenAI conventions of OpenTelemetry


Reader: TypeAlias = Callable[[str, str, str, Headers], Envelope]
"""Gives the envelope of (tenant, method, URL, headers)."""


def reader(namespace: str) -> Reader:
    """Return what reads the envelopes of one policy, and remembers them."""
    return lru_cache(maxsize=_REMEMBERED)(partial(_read, namespace))


def read(request: Request, tenant: str = "", namespace: str = "") -> Envelope:
    """Return the envelope of one request."""
    return _read(namespace, tenant, request.method, request.url, request.headers)


def _read(namespace: str, tenant: str, method: str, url: str, headers: Headers) -> Envelope:
    scheme, host, path, _query, _fragment = urlsplit(url)
    known = next((name for end, name in PATHS.items() if path.endswith(end)), "")
    posted = method.upper() == "POST"
    return Envelope(
        known or next((part for part in path.split("/") if part in RESOURCES), "request"),
        f"{scheme}://{host}",
        posted and known != "",
        wishes(headers),
        not posted or header(headers, "idempotency-key") is not None,
        asker(method, url, headers, tenant, namespace),
        _provider(host),
    )


def _provider(host: str) -> str:
    name = "." + (urlsplit(f"//{host}").hostname or "")
    return next((known for end, known in PROVIDERS.items() if name.endswith("." + end)), "openai")


def wishes(headers: Headers) -> Wishes:
    """Return the caller's wishes: `no-store` neither, `no-cache` a new answer, `max-age=N` one not older than N.

    An N that is no number asks for none so old: nobody gets an answer that he may not have wanted.
    """
    value = header(headers, "cache-control")
    if value is None:
        return ANY
    told = {
        name.strip().lower(): argument.strip() for name, _, argument in (p.partition("=") for p in value.split(","))
    }
    if "no-store" in told:
        return Wishes(lookup=False, store=False)
    age, max_age_s = told.get("max-age"), None
    if age is not None:
        seconds = age.strip('"')
        max_age_s = float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0
    return Wishes(lookup="no-cache" not in told, max_age_s=max_age_s)
