"""How the simulated API words its answers: the ways in which OpenAI-compatible servers differ."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]


class Dialect(BaseModel):
    """The options of an answer; the defaults are OpenAI's ways, with a chunk for each token."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reasoning_tokens: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Tokens of reasoning before each answer of chat and responses; they count as output, and against its limit."""
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    """The field of a chat message or delta that holds the reasoning."""
    role_first: bool = False
    """A stream's opening (chat: the chunk with the role) is sent at once, and not with the first token."""
    tokens_per_chunk: Annotated[int, Field(ge=1, le=64)] = 1
    """A chunk carries so many tokens, and is sent when the first of them is due."""
    keep_alive_s: Seconds = 0.0
    """A comment is sent whenever a stream has waited this long for its next token; 0: none."""
    usage_in_each_chunk: bool = False
    """Each chunk of a streamed chat or completion carries the usage up to it, as with `continuous_usage_stats`."""
    reasoning_model: bool = False
    """Refuse `max_tokens`, and a temperature or top_p other than 1, as OpenAI's reasoning models do."""


PLAIN = Dialect()
