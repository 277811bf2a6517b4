"""A request as the policy reads it: its envelope, what its JSON body asks for, and its cache key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tailrace.client.request import document, forms
from tailrace.client.request.envelope import Envelope
from tailrace.client.request.side_effects import has_side_effect
from tailrace.client.wire import Fields, Request, header

_OUTPUT_LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")


@dataclass(slots=True)
class ParsedRequest:
    """A request, and what the policy reads in it.

    `document` is the JSON body; None when the body is not a JSON object, and then nothing is cached or counted.

    `exact` and `doubt` say whether every parser reads the same document; see `tailrace.client.request.document`.
    """

    request: Request
    envelope: Envelope
    model: str = ""
    stream: bool = False
    document: dict[str, Any] | None = None
    known: bool = False
    """Whether the policy understands the operation and its body."""
    exact: bool = True
    doubt: str | None = None
    key: str = ""
    """The cache key; "" when the answer is neither looked up nor stored."""
    form: Fields | None = None
    """The text fields of a form; None when the body is not one."""
    identity: bytes = b""
    """Who asks, in the key, where the policy puts that in the place of the credential."""

    @property
    def deterministic(self) -> bool:
        """Whether the same request should always get the same answer."""
        fields = self.document
        if fields is None:
            return False
        if self.envelope.operation != "embeddings":
            temperature = fields.get("temperature")
            if type(temperature) not in (int, float) or temperature != 0:
                return False
        return self.doubt is None and not has_side_effect(self.envelope.operation, fields, self.request.body)

    @property
    def has_side_effect(self) -> bool:
        """Whether the call may do more than ask a model, so that it must not be shared; see `request.side_effects`."""
        fields = self.document
        if fields is None or self.doubt is not None:  # nobody knows what the provider reads in it
            return True
        return has_side_effect(self.envelope.operation, fields, self.request.body)

    @property
    def max_output_tok(self) -> int | None:
        """The most tokens that the answer may have; None when the request sets no limit."""
        fields = self.document
        if fields is None or self.envelope.operation == "embeddings":
            return 0
        for name in _OUTPUT_LIMITS:
            if name in fields and isinstance(limit := fields[name], int):
                return max(0, limit) * _answers(fields)
        return None


def parse(request: Request, envelope: Envelope) -> ParsedRequest:
    """Return `request`, whose envelope was read before, with its body parsed. Its key is still to be set."""
    if request.upload is not None or request.body[:2] == b"--":
        return _form(request, envelope)
    if not envelope.known or not document.begins(request.body):
        return ParsedRequest(request, envelope)
    fields, exact, doubt = document.parsed(request.body)
    if fields is None:
        return ParsedRequest(request, envelope)
    model = fields.get("model")
    return ParsedRequest(
        request, envelope, model if isinstance(model, str) else "", fields.get("stream") is True, fields, True, exact,
        doubt,
    )  # fmt: skip


def _form(request: Request, envelope: Envelope) -> ParsedRequest:
    """Return a request whose body is an upload, or a form in memory."""
    upload = request.upload
    fields = (
        forms.from_body(request.body, header(request.headers, "content-type") or "") if upload is None else upload.form
    )
    texts = dict(fields or ())
    models = {value for name, value in fields or () if name == "model"}
    doubt = "the form has more than one model; give one" if len(models) > 1 else None
    return ParsedRequest(
        request, envelope, texts.get("model", ""), texts.get("stream") == "true", doubt=doubt, form=fields
    )


def _answers(fields: dict[str, Any]) -> int:
    """Return how many answers are billed: the choices for each prompt, times the prompts."""
    counts = [count for name in ("n", "best_of") if isinstance(count := fields.get(name), int)]
    prompts = fields.get("prompt")
    return max([1, *counts]) * max(1, len(prompts) if isinstance(prompts, list) else 1)
