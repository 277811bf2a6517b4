"""How a target counts tokens, and how it wants the length of an answer spelled: measured by a rehearsal."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tailrace.load.prompts import WORDS

LimitName = Literal["max_tokens", "max_completion_tokens", "max_output_tokens"]
ExactName = Literal["ignore_eos", "min_tokens"]
_STRICT = ConfigDict(extra="forbid")
_Tokens = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


@dataclass(frozen=True, config=_STRICT)
class Counting:
    """The tokens of a prompt: `request_tok` + messages × `message_tok` + words × `word_tok`.

    By default one token for each word and nothing for the chat template, which no target was asked about.
    """

    request_tok: _Tokens = 0.0
    message_tok: _Tokens = 0.0
    word_tok: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    words: tuple[str, ...] = ()
    """Words that all count `word_tok` in any order; empty for the usual ones."""
    fillers: tuple[str, ...] = ()
    """fillers[k - 1], appended to a text, counts k tokens: for words of more than one token."""
    source: str = ""
    """Who counted: "tokenizer NAME" or "the server"; "" when nobody has."""

    def __post_init__(self) -> None:
        if unknown := set(self.words) - set(WORDS):
            raise ValueError(f"words {sorted(unknown)[:3]} are not in the vocabulary of generated prompts")

    def overhead(self, messages: int = 1) -> float:
        """Return the tokens of a request with that many messages, without their text."""
        return self.request_tok + messages * self.message_tok

    def fit(self, tokens: float) -> tuple[int, str]:
        """Return the words, and the end to append to them, that count `tokens`; at least one word."""
        words = max(1, int(tokens / self.word_tok + (1e-9 if self.fillers else 0.5)))
        missing = round(tokens - words * self.word_tok)
        return words, self.fillers[missing - 1] if 0 < missing <= len(self.fillers) else ""


@dataclass(frozen=True, config=_STRICT)
class AnswerLength:
    """The names by which the target takes the length of an answer."""

    limit: LimitName | None = None
    """None: the one that the endpoint documents."""
    exact: tuple[ExactName, ...] = ()
    """Parameters that make it answer exactly as many tokens."""

    def fields(self, tokens: int, default: str) -> dict[str, Any]:
        """Return the fields of a body that ask for `tokens` tokens."""
        fields: dict[str, Any] = {self.limit or default: tokens}
        if "ignore_eos" in self.exact:
            fields["ignore_eos"] = True
        if "min_tokens" in self.exact:
            fields["min_tokens"] = tokens
        return fields


@dataclass(frozen=True, config=_STRICT)
class Target:
    """What a rehearsal learned about one model at the target."""

    counting: Counting = Field(default_factory=Counting)
    answer: AnswerLength = Field(default_factory=AnswerLength)
