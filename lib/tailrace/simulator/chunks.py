"""The chunks of a streamed chat or completion, and how many tokens each of them carries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, zip_longest

import orjson

DONE = b"data: [DONE]\n\n"
Usage = Callable[[int], bytes]
"""The JSON of a usage with so many tokens of the answer."""


@dataclass(frozen=True, slots=True)
class Track:
    """What one choice of an answer streams: members of its JSON object, in order."""

    opening: bytes
    """Sent before the first token; empty: nothing."""
    members: tuple[bytes, ...]
    sizes: tuple[int, ...]
    """Tokens in each of `members`."""
    closing: bytes
    finish: str


@dataclass(frozen=True, slots=True)
class Counting:
    """Which chunks carry the usage."""

    usage: Usage
    last: bool
    """A chunk of its own before the end, and `null` in all others."""
    each: bool
    """Every chunk, with the tokens up to it."""

    def after(self, tokens: int) -> bytes:
        """Return what a chunk says after its choices, when the answer has so many tokens up to it."""
        if self.each:
            return b',"usage":' + self.usage(tokens)
        return b',"usage":null' if self.last else b""


def grouped(pieces: Sequence[str], size: int) -> list[tuple[str, int]]:
    """Return the texts of chunks of `size` tokens, and the tokens in each."""
    if size == 1:
        return [(piece, 1) for piece in pieces]
    return [("".join(pieces[i : i + size]), len(pieces[i : i + size])) for i in range(0, len(pieces), size)]


def events(
    head: dict[str, object], tracks: list[Track], counting: Counting, *, opening_first: bool
) -> tuple[tuple[bytes, ...], tuple[int, ...], bytes]:
    """Return the parts of a stream, the tokens in each (nothing: one), and the events that end the stream.

    Choices are generated side by side, so a part holds a chunk of each; its tokens are those of the longest choice.
    """
    before = b"data: " + orjson.dumps(head)[:-1] + b',"choices":['
    longest = max(tracks, key=lambda track: len(track.members))
    opening = b"".join(
        _event(before, i, track.opening, b"null", counting.after(0)) for i, track in enumerate(tracks) if track.opening
    )
    parts = _parts(before, tracks, counting)
    if opening and (opening_first or not parts):
        parts.insert(0, opening)
        sizes: tuple[int, ...] = (0, *longest.sizes)
    else:
        parts[0] = opening + parts[0]
        sizes = longest.sizes
    total = sum(sum(track.sizes) for track in tracks)
    one_each = sizes == (1,) * len(parts)
    tail = b"".join(
        _event(before, i, track.closing, b'"%b"' % track.finish.encode(), counting.after(total))
        for i, track in enumerate(tracks)
    )
    if counting.last:
        tail += before + b'],"usage":' + counting.usage(total) + b"}\n\n"
    return tuple(parts), () if one_each else sizes, tail + DONE


def _parts(before: bytes, tracks: list[Track], counting: Counting) -> list[bytes]:
    if len(tracks) == 1 and not counting.each:
        begin, end = _around(before, 0, b"null", counting.after(0))
        return [begin + member + end for member in tracks[0].members]
    parts: list[bytes] = []
    so_far = accumulate(sum(column) for column in zip_longest(*(track.sizes for track in tracks), fillvalue=0))
    for column, tokens in zip(zip_longest(*(track.members for track in tracks)), so_far, strict=True):
        after = counting.after(tokens)
        parts.append(b"".join(_event(before, i, m, b"null", after) for i, m in enumerate(column) if m is not None))
    return parts


def _event(before: bytes, index: int, member: bytes, finish: bytes, after: bytes) -> bytes:
    begin, end = _around(before, index, finish, after)
    return begin + member + end


def _around(before: bytes, index: int, finish: bytes, after: bytes) -> tuple[bytes, bytes]:
    # By hand: orjson for every token would take most of the time of a stream.
    return b'%b{"index":%d,' % (before, index), b',"logprobs":null,"finish_reason":%b}]%b}\n\n' % (finish, after)
