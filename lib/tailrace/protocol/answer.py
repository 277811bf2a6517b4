"""The reader of an answer, whether it is a stream or a plain body, and in whichever encoding it comes.

A chunk of a stream costs about 2 µs. `end` gives an `Answer`:

    failure          a class of `protocol.failures`, or ""    finish_reasons   of all choices that ended
    chunks           chunks that carry tokens                 complete         it may be cached
    usage            tokens, as the provider counted them     ended            its end came
    model            by the name that it gives itself         gaps_us          between chunks that carry tokens
    first_token_ns, answer_token_ns (not reasoning), last_token_ns: times as given to `feed`; 0 when none came
"""

from __future__ import annotations

from tailrace.protocol import failures
from tailrace.protocol.body import read_body
from tailrace.protocol.encoding import MOST_BYTES, Decoder, EncodingError, decoder
from tailrace.protocol.reading import Answer
from tailrace.protocol.stream import StreamReader

__all__ = ["Answer", "AnswerReader"]


class AnswerReader:
    """Reads the body of one answer.

    streamed   whether it is a stream of events: `media.is_event_stream` of its content-type
    api        "chat", "completions", "responses" or "embeddings"; "" when its shape shall tell (plain bodies only)
    encoding   its content-encoding, when nobody has decoded it yet
    """

    __slots__ = ("_api", "_body", "_decoder", "_failure", "_size", "_stream")

    def __init__(self, streamed: bool, api: str = "", encoding: str | bytes = "") -> None:
        self._stream = StreamReader() if streamed else None
        self._api = api
        self._body: list[bytes] = []
        self._size = 0
        self._failure = ""
        self._decoder: Decoder | None = None
        if encoding:
            try:
                self._decoder = decoder(encoding)
            except EncodingError:
                self._failure = failures.BAD_BODY

    @property
    def over(self) -> bool:
        """Whether the terminator of a stream has passed, so that its reader misses nothing when he leaves."""
        return self._stream is not None and self._stream.over

    @property
    def complete(self) -> bool:
        """Whether all of a stream has come, and nothing is wrong with it so far."""
        return self._stream is not None and self._stream.complete and not self._failure

    @property
    def failure(self) -> str:
        """The failure that has shown so far; `end` may find another one."""
        return self._failure or (self._stream.failure if self._stream is not None else "")

    @property
    def carried(self) -> bool:
        """Whether a token of a stream has come."""
        return self._stream is not None and self._stream.carried

    def feed(self, data: bytes, at_ns: int) -> None:
        """Read the next bytes of the body, which came at `at_ns`."""
        if self._failure:
            return
        if self._decoder is not None:
            try:
                data = self._decoder.feed(data)
            except EncodingError:
                self._failure = failures.BAD_BODY
                return
        if self._stream is not None:
            self._stream.feed(data, at_ns)
            return
        self._body.append(data)
        self._size += len(data)
        if self._size > MOST_BYTES:
            self._failure, self._body = failures.BAD_BODY, []

    def end(self, whole: bool) -> Answer:
        """Return what the answer said; `whole` when the transport says that its body came to its end."""
        decoded = self._decoder is None or self._decoder.whole
        if self._stream is not None:
            answer = self._stream.end(whole and decoded)
            return answer._replace(failure=self._failure, complete=False) if self._failure else answer
        if self._failure:
            return Answer(self._failure)
        if not whole:
            return Answer(failures.CUT_BODY)
        if not decoded:
            return Answer(failures.BAD_BODY)
        body = self._body
        return read_body(body[0] if len(body) == 1 else b"".join(body), self._api)
