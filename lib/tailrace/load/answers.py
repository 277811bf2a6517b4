"""What an HTTP answer means: success or a class of failure, tokens and their times, and the facts in its headers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COLOUR, COST, GENERATION, RELEASE
from tailrace.load.http1 import ENCODING, GARBAGE, TYPE, HttpAnswer
from tailrace.load.outcome import HITS, RESET, RequestOutcome
from tailrace.protocol.answer import Answer, AnswerReader
from tailrace.protocol.failures import BAD_BODY
from tailrace.protocol.media import is_event_stream

_CACHE, _ATTEMPTS, _BACKOFF, _COST = (name.encode() for name in (CACHE, ATTEMPTS, BACKOFF, COST))
_COLOUR, _RELEASE, _GENERATION = (name.encode() for name in (COLOUR, RELEASE, GENERATION))
_MOST: Final = 2**31 - 1
_MOST_LABEL: Final = 100
"""Characters of a colour or release: a label comes from a peer, and each one is kept in memory."""
_NOTHING: Final = Answer()
_is_stream = lru_cache(16)(is_event_stream)  # a service has few media types, and each answer has one


def reader_of(api: str) -> Callable[[HttpAnswer], AnswerReader | None]:
    """Return what chooses the reader of a body, once its head is there: none for an error, whose status says all."""

    def choose(reply: HttpAnswer) -> AnswerReader | None:
        if reply.status >= 400:
            return None
        headers = reply.headers
        return AnswerReader(_is_stream(headers.get(TYPE, b"")), api, headers.get(ENCODING, b""))

    return choose


def judge(reply: HttpAnswer) -> RequestOutcome:
    """Return the outcome of `reply`. Only the body that an `AnswerReader` has read can fail by what it says."""
    headers = reply.headers
    answer = reply.reader.end(reply.whole) if isinstance(reply.reader, AnswerReader) else _NOTHING
    usage, cache = answer.usage, _label(headers.get(_CACHE))
    # In the order of the fields: with their names, this would take three times as long, for each request.
    return RequestOutcome(
        _failure(reply, answer),
        reply.status,
        answer.first_token_ns,
        reply.last_ns,
        cache,
        _label(headers.get(_COLOUR)),
        _label(headers.get(_RELEASE)),
        number(headers.get(_GENERATION), 0),
        number(headers.get(_ATTEMPTS), 0 if cache in HITS else 1),
        number(headers.get(_BACKOFF), 0),
        answer.chunks,
        usage.in_tok,
        usage.out_tok,
        usage.cached_tok,
        number(headers.get(_COST), -1),
        reply.byte_ns,
        answer.answer_token_ns,
        answer.last_token_ns,
        usage.reasoning_tok,
        answer.gaps_us,
    )


def number(value: bytes | str | None, default: int) -> int:
    """Return the number in a header; `default` when it is none, and at most what the column of a record holds."""
    if value is None or not value.isdigit() or not value.isascii():
        return default
    return min(int(value[:20]), _MOST)


def _failure(reply: HttpAnswer, answer: Answer) -> str:
    if reply.broken == GARBAGE:
        return BAD_BODY
    if reply.whole and reply.status >= 400:
        return f"http_{reply.status}"
    if answer is not _NOTHING:
        return answer.failure
    return "" if reply.whole else RESET


@lru_cache(256)
def _label(value: bytes | None) -> str:
    """Return the label in a header: it goes to the terminal and to the page, so what no terminal should get is "?"."""
    text = value[:_MOST_LABEL].decode("latin-1") if value else ""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
