"""The texts of responses: words drawn from the digest of the whole request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tailrace.simulator import tokens
from tailrace.simulator.api_request import ParsedRequest

# Three letters and a space are one token (see `tokens`), so that every streamed chunk is a word.
_LIST = """
air and arc ask bay bed bee big bow box boy bus cap car cat cow
cup day dew dog ear elm far few fig fin fir fog fox gap gem hat
hen hop ice ink ivy jam jar joy key kit law leg lid log map mud
net oak oar owl pen pie pot ray red row rye sea sky sun tea tin
"""
WORDS = tuple(_LIST.split())


@dataclass(frozen=True, slots=True)
class Length:
    """How many tokens a request asks for."""

    least: int = 0
    """The answer is not shorter: `min_tokens`, or the limit with `ignore_eos`."""
    limit: int | None = None

    def after(self, spent: int) -> Length:
        """Return what is left when `spent` tokens have been used."""
        if not spent:
            return self
        return Length(max(0, self.least - spent), None if self.limit is None else max(0, self.limit - spent))

    def cuts(self, natural: int) -> bool:
        """Return whether the limit ends an answer that would end by itself after `natural` tokens."""
        return self.limit is not None and (natural > self.limit or self.least >= self.limit)


NATURAL = Length()
"""An answer ends where it ends by itself."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text in tokens, and whether the request's limit of tokens truncated it."""

    pieces: tuple[str, ...]
    truncated: bool = False

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def generate(request: ParsedRequest, index: int, asked: Length = NATURAL) -> Text:
    """Return the text of choice `index`: the digest, then words.

    Its natural length is uniform between half and one and a half times `request.median_tokens`, and 0 if that is 0;
    `asked` makes it longer or shorter.
    """
    draw = hashlib.shake_128(request.digest + index.to_bytes(2, "big"))
    head = draw.digest(8)
    low = max(1, request.median_tokens // 2)
    natural = low + int.from_bytes(head[6:8], "big") % (request.median_tokens + 1) if request.median_tokens else 0
    size = max(natural, asked.least)
    if asked.limit is not None:
        size = min(size, asked.limit)
    mark = head[:6].hex()
    marks = [mark[i : i + 3] for i in range(0, 12, 3)]
    words = (marks + [WORDS[byte & 63] for byte in draw.digest(size + 8)[8:]])[:size]
    return Text(_spaced(words), asked.cuts(natural))


def reasoning(request: ParsedRequest, index: int, asked: Length) -> tuple[str, ...]:
    """Return the tokens of reasoning before choice `index`: as many as the dialect says, within the limit."""
    size = request.dialect.reasoning_tokens
    if asked.limit is not None:
        size = min(size, asked.limit)
    if not size or not request.median_tokens:
        return ()
    draw = hashlib.shake_128(b"reasoning" + request.digest + index.to_bytes(2, "big"))
    return _spaced([WORDS[byte & 63] for byte in draw.digest(size)])


def truncate(text: str, limit: int | None) -> Text:
    """Return `text`, truncated at `limit` tokens."""
    pieces = tokens.pieces(text)
    return Text(tuple(pieces[:limit]), limit is not None and limit < len(pieces))


def created(digest: bytes) -> int:
    """Return the creation time of a response in seconds since the epoch: drawn from the digest, so that it repeats."""
    return 1_700_000_000 + int.from_bytes(digest[:3], "big")


def _spaced(words: list[str]) -> tuple[str, ...]:
    return (*[word + " " for word in words[:-1]], *words[-1:])
