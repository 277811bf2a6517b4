"""What a request asks for, as far as the policy has to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tailrace.client.request import document as json_document
from tailrace.client.request.envelope import Envelope

_SERVER_STATE: Final = frozenset({"previous_response_id", "conversation", "background", "store", "web_search_options"})
"""With one of these, the answer depends on more than the request, or is wanted for its side effect."""
_OUTPUT_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@dataclass(slots=True)
class Operation:
    """`document` is the JSON body; None when it is none, and then nothing is cached or counted.

    `exact` and `doubt` say whether everybody would read the same in it; see `tailrace.client.request.document`.
    """

    name: str
    model: str
    stream: bool
    document: dict[str, Any] | None
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
        return type(temperature) in (int, float) and temperature == 0 and not _hosted(document.get("tools"))

    @property
    def max_output_tok(self) -> int | None:
        document = self.document
        if document is None or self.name == "embeddings":
            return 0
        for name in _OUTPUT_LIMITS:
            if name in document and isinstance(limit := document[name], int):
                return max(0, limit) * _answers(document)
        return None


def read(envelope: Envelope, body: bytes) -> Operation:
    """Return what a request with this `body` asks for."""
    name = envelope.operation
    if not envelope.known or body[:1] != b"{":
        return Operation(name, "", False, None)
    fields, exact, doubt = json_document.parsed(body)
    if fields is None:
        return Operation(name, "", False, None)
    model = fields.get("model")
    return Operation(
        name, model if isinstance(model, str) else "", fields.get("stream") is True, fields, True, exact, doubt
    )


def _answers(document: dict[str, Any]) -> int:
    """Return how many answers are paid for: so many choices, for so many prompts."""
    counts = [count for name in ("n", "best_of") if isinstance(count := document.get(name), int)]
    prompts = document.get("prompt")
    return max([1, *counts]) * max(1, len(prompts) if isinstance(prompts, list) else 1)


def _hosted(tools: object) -> bool:
    """Whether the provider runs any of the tools itself: what a search finds is another thing tomorrow."""
    if not isinstance(tools, list):
        return bool(tools)
    return any(not isinstance(tool, dict) or tool.get("type") not in ("function", "custom") for tool in tools)
