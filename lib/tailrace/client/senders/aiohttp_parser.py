"""aiohttp's parser of answers, backed by h11 for what it refuses.

This is the one place that knows aiohttp from inside: where a connection makes its parser, and what the parser returns.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, TypeAlias

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpVersion11, RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDict, CIMultiDictProxy

from tailrace.client.senders.fallback_parser import LONG_HEAD, MOST_HEAD_BYTES, MOST_KEPT_BYTES, FallbackParser

Parsed: TypeAlias = tuple[Any, bool, bytes]
"""Pairs of head and body, whether the protocol was switched, and the bytes after that."""


def connector(**options: Any) -> aiohttp.TCPConnector:
    """Return a connector for the running loop that reads answers as leniently as the SDK; `options` are aiohttp's."""
    made = _Connector(**options)
    handler: Any = partial(BackedHandler, loop=asyncio.get_running_loop())
    made._factory = handler
    return made


class _Connector(aiohttp.TCPConnector):
    """aiohttp's, which limits connections in use, and here those that are kept, too: each origin has its own."""

    def _release(self, key: Any, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        kept = self._conns
        if self._limit and sum(map(len, kept.values())) >= self._limit:
            should_close = True
        super()._release(key, protocol, should_close=should_close)


class BackedHandler(ResponseHandler):
    """A connection of aiohttp that gives each answer a `BackedParser`."""

    def set_response_params(self, **options: Any) -> None:
        super().set_response_params(**options)
        make_body = partial(
            StreamReader, self, options.get("read_bufsize", 1 << 16), timer=options.get("timer"), loop=self._loop
        )
        parser: Any = BackedParser(self._parser, "HEAD" if options.get("skip_payload") else "GET", make_body)
        self._parser = parser


class BackedParser:
    """Reads one answer with `fast`; when that refuses it, h11 reads it from its first byte."""

    def __init__(self, fast: Any, method: str, make_body: partial[StreamReader]) -> None:
        self._fast = fast
        self._method = method
        self._make_body = make_body
        self._body: StreamReader | None = None
        self._raw: list[bytes] | None = []
        self._raw_bytes = 0
        self._fallback: FallbackParser | None = None

    def feed_data(self, data: bytes) -> Parsed:
        """Return what aiohttp's parser returns."""
        if self._fallback is not None:  # no bytes mean that reading goes on after a pause
            return self._read_again(self._fallback, data) if data else ([], False, b"")
        if self._raw is not None:
            self._raw.append(data)
        try:
            found: Parsed = self._fast.feed_data(data)
        except Exception:
            if self._raw is None or (self._body is not None and self._body.is_eof()):
                raise
            self._fallback = FallbackParser(self._method)
            passed_bytes = self._body.total_bytes if self._body is not None else 0
            return self._read_again(self._fallback, b"".join(self._raw), passed_bytes)
        for head, body in found[0]:
            if head.code >= 200:  # before it there may be interim responses (1xx)
                self._body = body
        if self._raw is not None:
            self._bound(len(data))
        return found

    def _bound(self, read_bytes: int) -> None:
        """Raise where a head is too long; forget what came once enough of it was read well."""
        self._raw_bytes += read_bytes
        if self._body is None and self._raw_bytes > MOST_HEAD_BYTES:
            raise ConnectionError(LONG_HEAD)
        if self._raw_bytes > MOST_KEPT_BYTES:
            self._raw = None

    def feed_eof(self) -> Any:
        """Note the end of the connection; raise when the answer was to be longer."""
        if self._fallback is None:
            return self._fast.feed_eof()
        self._read_again(self._fallback, b"")
        return None

    def pause_reading(self) -> None:
        """Stop where the fast parser is; h11 reads what it was given, which is bounded, to its end."""
        if self._fallback is None:
            self._fast.pause_reading()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fast, name)

    def _read_again(self, fallback: FallbackParser, data: bytes, passed_bytes: int = 0) -> Parsed:
        body = fallback.feed(data)[passed_bytes:]
        heads = []
        if fallback.status and self._body is None:
            self._body = self._make_body()
            heads.append((_head(fallback), self._body))
        if self._body is not None:
            if body:
                self._body.feed_data(body)
            if fallback.whole and not self._body.is_eof():
                self._body.feed_eof()
        return heads, False, b""


def _head(fallback: FallbackParser) -> RawResponseMessage:
    """Return the head as aiohttp's; its connection is not used again."""
    named = [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in fallback.headers]
    headers = CIMultiDictProxy(CIMultiDict(named))
    return RawResponseMessage(
        HttpVersion11, fallback.status, "", headers, tuple(fallback.headers), True, None, False, False
    )
