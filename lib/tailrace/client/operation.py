"""What a request asks for, as far as the policy has to know."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from tailrace.client import document as json_document
from tailrace.client.wire import Request, header

PATHS: Final = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/completions": "text_completion",
}
_SERVER_STATE: Final = frozenset({"previous_response_id", "conversation", "background", "store", "web_search_options"})
"""With one of these, the answer depends on more than the request, or is wanted for its side effect."""
_OUTPUT_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_NAMES: Final = frozenset(PATHS.values())


class Operation(NamedTuple):
    """`document` is the JSON body; None when it is none, and then nothing is cached or counted.

    `exact` and `doubt` say whether everybody would read the same in it; see `tailrace.client.document`.
    """

    name: str
    model: str
    stream: bool
    document: dict[str, Any] | None
    origin: str  # "https://host:port": what a breaker is about
    known: bool = False
    exact: bool = True
    doubt: str | None = None

    @property
    def deterministic(self) -> bool:
        """Whether the same request may be expected to give the same answer."""
        document = self.document
        if document is None or self.doubt is not None or not _SERVER_STATE.isdisjoint(document):
            return False
        if self.name == "embeddings":
            return True
        temperature = document.get("temperature")
        return (
            type(temperature) in (int, float)
            and temperature == 0
            and not any(_hosted(tool) for tool in document.get("tools") or ())
        )

    @property
    def max_output_tok(self) -> int | None:
        document = self.document
        if document is None or self.name == "embeddings":
            return 0
        for name in _OUTPUT_LIMITS:
            if name in document and isinstance(limit := document[name], int):
                return limit * _answers(document)
        return None


def read(request: Request) -> Operation:
    """Return what `request` asks for."""
    name, origin = _place(request.url)
    if name not in _NAMES or request.method.upper() != "POST" or request.body[:1] != b"{":
        return Operation(name, "", False, None, origin)
    fields, exact, doubt = json_document.parsed(request.body)
    if fields is None:
        return Operation(name, "", False, None, origin)
    model = fields.get("model")
    named = model if isinstance(model, str) else ""
    return Operation(name, named, fields.get("stream") is True, fields, origin, True, exact, doubt)


@lru_cache(maxsize=256)
def _place(url: str) -> tuple[str, str]:
    """Return the operation that `url` names, and its origin."""
    scheme, host, path, _query, _fragment = urlsplit(url)
    name = next((name for end, name in PATHS.items() if path.endswith(end)), path.rsplit("/", 1)[-1] or "request")
    return name, f"{scheme}://{host}"


class Wishes(NamedTuple):
    """What the caller wants of the cache for this call, by `cache-control` (RFC 9111 §5.2.1)."""

    lookup: bool = True
    store: bool = True
    max_age_s: float | None = None


ANY: Final = Wishes()


def wishes(request: Request) -> Wishes:
    """Return the caller's wishes: `no-store` neither, `no-cache` a new answer, `max-age=N` one not older than N."""
    value = header(request.headers, "cache-control")
    if value is None:
        return ANY
    told = {
        name.strip().lower(): argument.strip() for name, _, argument in (p.partition("=") for p in value.split(","))
    }
    if "no-store" in told:
        return Wishes(lookup=False, store=False)
    age = told.get("max-age", "")
    return Wishes(lookup="no-cache" not in told, max_age_s=float(age) if age.isascii() and age.isdigit() else None)


def _answers(document: dict[str, Any]) -> int:
    """Return how many answers are paid for: so many choices, for so many prompts."""
    counts = [count for name in ("n", "best_of") if isinstance(count := document.get(name), int)]
    prompts = document.get("prompt")
    return max([1, *counts]) * (len(prompts) if isinstance(prompts, list) else 1)


def _hosted(tool: object) -> bool:
    """Whether the provider runs the tool itself: what a search finds is another thing tomorrow."""
    return not isinstance(tool, dict) or tool.get("type") not in ("function", "custom")
