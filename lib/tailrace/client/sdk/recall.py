"""The short way to a hit: from the arguments of `create(…)` to its answer, without building a request.

Nothing is decided here. What is remembered is only that these arguments, on a client in this state, made the
request with this key, and, from the first hit on, what the SDK reads in the answer. The store still has the answer,
and still says whether it is there and fresh. The caller gets a copy that is his alone.

Whatever could make the request another one next time (headers for one call, a key from a callable, a client of
the caller's own, a subclass that prepares requests) takes the long way.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

import openai
import orjson

from tailrace.client import context
from tailrace.client.call import Asked
from tailrace.client.pipeline import Engine
from tailrace.client.request import envelope, guard
from tailrace.client.request.key import NEUTRAL_COOKIES
from tailrace.client.request.operation import Operation
from tailrace.client.sdk.arguments import plain
from tailrace.client.sdk.copies import copied
from tailrace.client.stores import Entry
from tailrace.client.wire import Request, header

ANSWERED: ContextVar[list[str] | None] = ContextVar("tailrace_answered", default=None)
"""Where a transport leaves the key of the answer that it gave, for the call that it was given to."""
_MADE_BY: Final = frozenset({"_build_request", "_build_headers", "_prepare_options", "_prepare_request", "request",
                             "post", "_send_request", "_process_response", "_process_response_data"})  # fmt: skip
_HELD: Final = ("api_key", "admin_api_key", "organization", "project", "_base_url", "_api_key_provider",
                "workload_identity", "_provider_runtime", "_client")  # fmt: skip
_NOTHING: Final = Request("POST", "", (), b"")


class Mark(NamedTuple):
    """What a call is known by, and the text of its arguments."""

    digest: bytes
    operation: str
    text: bytes
    held: list[Any]
    """What the client was made of; an answer that comes when that is another is not remembered."""


class Read(NamedTuple):
    """What the SDK reads in the bytes of an answer."""

    body: bytes
    parsed: Any
    asked: Asked


class Learnt(NamedTuple):
    key: str
    kind: type[openai.BaseModel]
    read: Read | None = None

    @property
    def size_bytes(self) -> int:
        """What it takes to keep, roughly."""
        return 1024 if self.read is None else 4096 + 16 * len(self.read.body)


class Recall:
    """What the calls of one client taught, at most `max_bytes` of it, least recently used going first."""

    def __init__(self, client: openai.OpenAI | openai.AsyncOpenAI, engine: Engine, max_bytes: int = 32 << 20) -> None:
        self._client: Any = client
        self._engine = engine
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._learnt: OrderedDict[bytes, Learnt] = OrderedDict()
        self._lock = threading.Lock()
        self._held: list[Any] = []
        self._told: tuple[Any, ...] = ()
        self._plain = False
        self._envelope = envelope.read(_NOTHING)
        cache = engine.policy.cache
        self._store = cache.store if cache is not None and not cache.store.slow_get else None

    def mark(self, operation: str, arguments: Mapping[str, Any], text: bytes) -> Mark | None:
        """Return what the call with these arguments, which `text` is, is known by; None when it goes the long way."""
        if self._store is None or arguments.get("stream") or arguments.get("extra_headers") or not self._unchanged():
            return None
        tenant = context.current().tenant.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(b"%b %d:%b %b" % (operation.encode(), len(tenant), tenant, text)).digest()
        return Mark(digest, operation, text, self._held)

    def of(self, client: object) -> bool:
        """Whether this is the memory of `client`."""
        return self._client is client

    def answer(self, mark: Mark) -> Any:
        """Return the answer for `mark` if it stands in the store and is fresh, else None."""
        with self._lock:
            learnt = self._learnt.get(mark.digest)
            if learnt is None:
                return None
            self._learnt.move_to_end(mark.digest)
        entry = self._stored(learnt.key)
        if entry is None:
            return None
        read = learnt.read
        if read is None or read.body != entry.body:
            read = self._read(mark, learnt, entry)
            if read is None:
                return None
        asked = read.asked.begun(self._engine.clock.monotonic())
        if not self._engine.fetcher.fresh(entry, asked):
            return None
        self._engine.ledger.hit(asked, entry, "hit")
        given = copied(read.parsed)
        given._request_id = header(entry.headers, "x-request-id")  # the same bytes may have come once more
        return given

    def learn(self, mark: Mark, key: str, parsed: Any) -> None:
        """Remember that `mark` made the request with `key`, and that `parsed` is its answer."""
        if not isinstance(parsed, openai.BaseModel) or not self._unchanged():
            return
        learnt = Learnt(key, type(parsed))
        if mark.operation != "embeddings":
            self._keep(mark, learnt)
        elif (entry := self._stored(key)) is not None:  # only the call itself knows how to unpack these
            self._keep(mark, learnt._replace(read=self._found(mark, learnt, entry, copied(parsed))))

    def _read(self, mark: Mark, learnt: Learnt, entry: Entry) -> Read | None:
        """Have the SDK read what stands in the store, and remember it; None when only the long way can."""
        if mark.operation == "embeddings":
            return None
        try:
            data = json.loads(entry.body)
            parsed = self._client._process_response_data(data=data, cast_to=learnt.kind, response=None)
        except Exception:
            return None  # the long way reports it
        if not isinstance(parsed, openai.BaseModel):
            return None
        read = self._found(mark, learnt, entry, parsed)
        self._keep(mark, learnt._replace(read=read))
        return read

    def _found(self, mark: Mark, learnt: Learnt, entry: Entry, parsed: Any) -> Read:
        document: dict[str, Any] = orjson.loads(mark.text)
        document = {**document, **(document.get("extra_body") or {})}
        wanted = Operation(mark.operation, str(document.get("model", "")), False, None, True)
        rules = self._engine.policy.guard if self._engine.policy.hooks else None  # whom detections are told
        seen = guard.detections(rules, mark.text, document) if rules is not None else ()
        asked = Asked(_NOTHING, self._envelope, wanted, learnt.key, context.current().tenant, 0.0, None, seen)
        return Read(entry.body, parsed, asked)

    def _stored(self, key: str) -> Entry | None:
        """Return the answer that stands in the store, whole."""
        assert self._store is not None, "there is a store where there is a mark"
        try:
            entry = self._store.get(key, self._engine.clock.wall())
        except Exception:
            return None  # the long way reports it
        return None if entry is None or entry.streamed else entry

    def _keep(self, mark: Mark, learnt: Learnt) -> None:
        with self._lock:
            if mark.held is not self._held:
                return  # made by the client as it was before
            self._forget(mark.digest)
            self._learnt[mark.digest] = learnt
            self._size_bytes += learnt.size_bytes
            while self._size_bytes > self._max_bytes:
                self._forget(next(iter(self._learnt)))

    def _forget(self, digest: bytes) -> None:
        old = self._learnt.pop(digest, None)
        self._size_bytes -= old.size_bytes if old is not None else 0

    def _unchanged(self) -> bool:
        """Whether the client makes the same requests of the same arguments as when the memory began."""
        client, http = self._client, self._client._client
        held = [*(getattr(client, name) for name in _HELD), http.auth, http.params]
        # by value: these are the caller's own, to change as he likes
        told = dict(client._custom_headers), plain(client._custom_query), http.headers.raw
        if told != self._told or any(new is not old for new, old in zip(held, self._held, strict=True)):
            with self._lock:
                self._learnt.clear()
                self._size_bytes = 0
                self._held, self._told = held, told
                self._plain = told[1] is not None and self._is_plain()
                self._envelope = envelope.read(Request("POST", str(client.base_url), (), b""))
        return (
            self._plain
            and not http.is_closed
            and vars(client).keys().isdisjoint(_MADE_BY)
            and not any(http.event_hooks.values())
            and all(cookie.name in NEUTRAL_COOKIES for cookie in http.cookies.jar)
        )

    def _is_plain(self) -> bool:
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
