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
class Text:
    """A text in tokens, and whether the request's limit of tokens truncated it."""

    pieces: tuple[str, ...]
    truncated: bool

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def generate(request: ParsedRequest, index: int, limit: int | None) -> Text:
    """Return the text of choice `index`: the digest, then words.

    Without a limit its length is uniform between half and one and a half times `request.median_tokens`.
    """
    draw = hashlib.shake_128(request.digest + index.to_bytes(2, "big"))
    head = draw.digest(8)
    low = max(1, request.median_tokens // 2)
    length = low + int.from_bytes(head[6:8], "big") % (request.median_tokens + 1)
    size = length if limit is None else min(length, limit)
    mark = head[:6].hex()
    marks = [mark[i : i + 3] for i in range(0, 12, 3)]
    words = (marks + [WORDS[byte & 63] for byte in draw.digest(size + 8)[8:]])[:size]
    return Text((*[word + " " for word in words[:-1]], words[-1]), size < length)


def truncate(text: str, limit: int | None) -> Text:
    """Return `text`, truncated at `limit` tokens."""
    pieces = tokens.pieces(text)
    return Text(tuple(pieces[:limit]), limit is not None and limit < len(pieces))


def created(digest: bytes) -> int:
    """Return the creation time of a response in seconds since the epoch: drawn from the digest, so that it repeats."""
    return 1_700_000_000 + int.from_bytes(digest[:3], "big")
