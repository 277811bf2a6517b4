"""The fast path to a cache hit: from the arguments of `create(…)` to its answer, without building a request.

It decides nothing. It remembers only that these arguments, on a client in this state, made the request with this
cache key, and, after the first hit, what the SDK parsed from the answer. The store still holds the answer, and the
policy still decides whether it is fresh. The caller gets a copy of his own.

Whatever could change the request (headers for one call, an API key or an identity from a callable, a client of the
caller's own, a subclass that prepares requests) takes the full path.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Final, NamedTuple

import openai
import orjson

from tailrace.client import context
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.pipeline import Pipeline
from tailrace.client.request import envelope, guard
from tailrace.client.request.key_headers import NEUTRAL_COOKIES
from tailrace.client.request.parsed import ParsedRequest
from tailrace.client.sdk.arguments import plain
from tailrace.client.sdk.copies import copied
from tailrace.client.stores import Entry
from tailrace.client.wire import Request, header

ANSWER_KEYS: ContextVar[list[str] | None] = ContextVar("tailrace_answer_keys", default=None)
"""Where a transport puts the cache key of its answer, for the call that gets the answer."""
_BUILDERS: Final = frozenset({"_build_request", "_build_headers", "_prepare_options", "_prepare_request", "request",
                              "post", "_send_request", "_process_response", "_process_response_data"})  # fmt: skip
"""Methods that make the request or read the answer: an instance that replaces one takes the full path."""
_SETTINGS: Final = ("api_key", "admin_api_key", "organization", "project", "_base_url", "_api_key_provider",
                    "workload_identity", "_provider_runtime", "_client")  # fmt: skip
_NO_REQUEST: Final = Request("POST", "", (), b"")


class Mark(NamedTuple):
    """Identifies a call by its operation, tenant and arguments."""

    digest: bytes
    operation: str
    text: bytes
    """The arguments as JSON."""
    settings: list[Any]
    """The client's settings; an answer that comes after they changed is not remembered."""


class ParsedAnswer(NamedTuple):
    """An answer as the SDK parsed it, and a call to account for it with."""

    body: bytes
    parsed: Any
    call: PendingCall


class Remembered(NamedTuple):
    """The cache key of a call, the SDK's class of its answer, and the parsed answer after the first hit."""

    key: str
    kind: type[openai.BaseModel]
    answer: ParsedAnswer | None = None

    @property
    def size_bytes(self) -> int:
        """The memory it takes, roughly."""
        return 1024 if self.answer is None else 4096 + 16 * len(self.answer.body)


class FastPath:
    """Remembers the calls of one client in at most `max_bytes`; the least recently used are dropped first."""

    def __init__(
        self, client: openai.OpenAI | openai.AsyncOpenAI, pipeline: Pipeline, max_bytes: int = 32 << 20
    ) -> None:
        self._client: Any = client
        self._pipeline = pipeline
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._calls: OrderedDict[bytes, Remembered] = OrderedDict()
        self._lock = threading.Lock()
        self._settings: list[Any] = []
        self._defaults: tuple[Any, ...] = ()
        self._plain = False
        self._envelope = envelope.read(_NO_REQUEST)
        self._cache = cache = pipeline.policy.cache
        usable = cache is not None and not cache.store.slow_get and not callable(cache.identity)
        self._store = cache.store if cache is not None and usable else None

    def mark(self, operation: str, arguments: Mapping[str, Any], text: bytes) -> Mark | None:
        """Return the mark of the call with these arguments, whose JSON is `text`; None when it takes the full path."""
        if self._store is None or arguments.get("stream") or arguments.get("extra_headers") or not self._unchanged():
            return None
        tenant = context.current().tenant.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(b"%b %d:%b %b" % (operation.encode(), len(tenant), tenant, text)).digest()
        return Mark(digest, operation, text, self._settings)

    def belongs_to(self, client: object) -> bool:
        """Whether this is the fast path of `client`."""
        return self._client is client

    def answer(self, mark: Mark) -> Any:
        """Return the answer to the call `mark`, if it is in the store and fresh, else None."""
        with self._lock:
            remembered = self._calls.get(mark.digest)
            if remembered is None:
                return None
            self._calls.move_to_end(mark.digest)
        entry = self._load(remembered.key)
        if entry is None:
            return None
        answer = remembered.answer
        if answer is None or answer.body != entry.body:
            answer = self._parse(mark, remembered, entry)
            if answer is None:
                return None
        call = answer.call.restarted()
        if self._cache is None or call.age_s(entry) >= self._cache.ttl_s:
            return None
        call.cache = "hit"
        self._pipeline.ledger.hit(call, entry)
        response = copied(answer.parsed)
        response._request_id = header(entry.headers, "x-request-id")  # of this entry, which may have the same bytes
        return response

    def remember(self, mark: Mark, key: str, parsed: Any) -> None:
        """Remember that the call `mark` made the request with `key`, and that `parsed` is its answer."""
        if not isinstance(parsed, openai.BaseModel) or not self._unchanged():
            return
        remembered = Remembered(key, type(parsed))
        if mark.operation != "embeddings":
            self._keep(mark, remembered)
        elif (entry := self._load(key)) is not None:  # only the call itself knows how to decode embeddings
            self._keep(mark, remembered._replace(answer=self._answered(mark, remembered, entry, copied(parsed))))

    def _parse(self, mark: Mark, remembered: Remembered, entry: Entry) -> ParsedAnswer | None:
        """Have the SDK parse the stored answer, and remember it; None when only the full path can."""
        if mark.operation == "embeddings":
            return None
        try:
            data = json.loads(entry.body)
            parsed = self._client._process_response_data(data=data, cast_to=remembered.kind, response=None)
        except Exception:
            return None  # the full path reports it
        if not isinstance(parsed, openai.BaseModel):
            return None
        answer = self._answered(mark, remembered, entry, parsed)
        self._keep(mark, remembered._replace(answer=answer))
        return answer

    def _answered(self, mark: Mark, remembered: Remembered, entry: Entry, parsed: Any) -> ParsedAnswer:
        document: dict[str, Any] = orjson.loads(mark.text)
        document = {**document, **(document.get("extra_body") or {})}
        outside = replace(self._envelope, operation=mark.operation)
        request = ParsedRequest(_NO_REQUEST, outside, model=str(document.get("model", "")), key=remembered.key)
        rules = self._pipeline.policy.guard if self._pipeline.policy.hooks else None  # only hooks use detections
        call = PendingCall(
            original=request,
            current=request,
            clock=self._pipeline.clock,
            tenant=context.current().tenant,
            started=0.0,
            detections=guard.detections(rules, mark.text, document) if rules is not None else (),
        )
        return ParsedAnswer(entry.body, parsed, call)

    def _load(self, key: str) -> Entry | None:
        """Return the stored answer, unless it is a stream."""
        assert self._store is not None, "there is a store where there is a mark"
        try:
            entry = self._store.get(key, self._pipeline.clock.wall())
        except Exception:
            return None  # the full path reports it
        return None if entry is None or entry.streamed else entry

    def _keep(self, mark: Mark, remembered: Remembered) -> None:
        with self._lock:
            if mark.settings is not self._settings:
                return  # the client has changed since
            self._forget(mark.digest)
            self._calls[mark.digest] = remembered
            self._size_bytes += remembered.size_bytes
            while self._size_bytes > self._max_bytes:
                self._forget(next(iter(self._calls)))

    def _forget(self, digest: bytes) -> None:
        old = self._calls.pop(digest, None)
        self._size_bytes -= old.size_bytes if old is not None else 0

    def _unchanged(self) -> bool:
        """Whether the client still makes the same requests from the same arguments. Forget all calls if it does not."""
        client, http = self._client, self._client._client
        settings = [*(getattr(client, name) for name in _SETTINGS), http.auth, http.params]
        # compared by value, because the caller may change these in place
        defaults = dict(client._custom_headers), plain(client._custom_query), http.headers.raw
        if defaults != self._defaults or any(new is not old for new, old in zip(settings, self._settings, strict=True)):
            with self._lock:
                self._calls.clear()
                self._size_bytes = 0
                self._settings, self._defaults = settings, defaults
                self._plain = defaults[1] is not None and self._is_plain()
                self._envelope = envelope.read(Request("POST", str(client.base_url), (), b""))
        return (
            self._plain
            and not http.is_closed
            and vars(client).keys().isdisjoint(_BUILDERS)
            and not any(http.event_hooks.values())
            and all(cookie.name in NEUTRAL_COOKIES for cookie in http.cookies.jar)
        )

    def _is_plain(self) -> bool:
        """Whether nothing but the arguments decides about the client's requests."""
        client = self._client
        kinds = type(client).__mro__
        own = next(place for place, kind in enumerate(kinds) if kind.__module__ == "tailrace.client.openai")
        return (
            client._api_key_provider is None
            and client.workload_identity is None
            and client._provider_runtime is None
            and not any(name.lower() == "cache-control" for name in client._custom_headers)
            and not any(hasattr(kinds[own], name) for kind in kinds[:own] for name in vars(kind) if name[:2] != "__")
        )
