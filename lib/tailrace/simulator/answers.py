"""What an answer is, and the words in it: drawn from a digest of the whole request."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from tailrace.simulator import tokens

Headers = tuple[tuple[str, str], ...]

# Three letters and a space are one token (see `tokens`), so that every streamed chunk is a word.
_LIST = """
air and arc ask bay bed bee big bow box boy bus cap car cat cow
cup day dew dog ear elm far few fig fin fir fog fox gap gem hat
hen hop ice ink ivy jam jar joy key kit law leg lid log map mud
net oak oar owl pen pie pot ray red row rye sea sky sun tea tin
"""
WORDS = tuple(_LIST.split())


@dataclass(frozen=True, slots=True)
class Question:
    """A request as an endpoint sees it."""

    content: dict[str, Any]
    """The JSON body."""
    digest: bytes
    """Of the whole request: method, path, credential, every parameter, and the simulator's seed."""
    length: int
    """Median length of an answer, in tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: a body, or the parts of a stream."""

    body: bytes = b""
    status: int = 200
    headers: Headers = ()
    parts: tuple[bytes, ...] = ()
    """Server-sent events; part *i* leaves with token *i*."""
    tail: bytes = b""
    """Leaves with the last part: finish, usage and terminator."""
    in_tok: int = 0
    out_tok: int = 0
    """Of all choices together."""
    steps: int = 0
    """Tokens that come one after the other: those of the longest choice."""
    media: str = "application/json"

    @property
    def stream(self) -> bool:
        return bool(self.parts)


@dataclass(frozen=True, slots=True)
class Text:
    """A text and whether it was cut at the limit of tokens that the request set."""

    pieces: tuple[str, ...]
    cut: bool

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def write(question: Question, index: int, limit: int | None) -> Text:
    """Return the text of choice `index`: the digest, then words.

    Its natural length is even between half and one and a half times `question.length`.
    """
    draw = hashlib.shake_128(question.digest + index.to_bytes(2, "big"))
    head = draw.digest(8)
    low = max(1, question.length // 2)
    length = low + int.from_bytes(head[6:8], "big") % (question.length + 1)
    size = length if limit is None else min(length, limit)
    mark = head[:6].hex()
    marks = [mark[i : i + 3] for i in range(0, 12, 3)]
    words = (marks + [WORDS[byte & 63] for byte in draw.digest(size + 8)[8:]])[:size]
    return Text((*[word + " " for word in words[:-1]], words[-1]), size < length)


def cut(text: str, limit: int | None) -> Text:
    """Return a given text, cut at `limit` tokens."""
    parts = tokens.pieces(text)
    return Text(tuple(parts[:limit]), limit is not None and limit < len(parts))


def created(digest: bytes) -> int:
    """Return the time of an answer, in seconds of the epoch: from the digest, so that answers repeat."""
    return 1_700_000_000 + int.from_bytes(digest[:3], "big")
