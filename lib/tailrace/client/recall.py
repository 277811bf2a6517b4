"""The short way to a hit: from the arguments of `create(…)` to its answer, without building a request.

Nothing is decided here. What is remembered is only that these arguments, on a client in this state, made the
request with this key, and which object the SDK parsed from its answer. The store still has the answer, and still
says whether it is there and fresh; if its bytes are not those that were parsed, the long way is taken. The caller
gets a copy that is his alone.

Whatever could make the request another one next time (headers for one call, a key from a callable, a client of
the caller's own, a subclass that prepares requests) takes the long way.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

import openai
import orjson

from tailrace.client import context, guard
from tailrace.client.asked import Asked
from tailrace.client.copies import copied
from tailrace.client.engine import Engine
from tailrace.client.key import NEUTRAL_COOKIES
from tailrace.client.operation import ANY, Operation
from tailrace.client.wire import Request

ANSWERED: ContextVar[list[str] | None] = ContextVar("tailrace_answered", default=None)
"""Where a transport leaves the key of the answer that it gave, for the call that it was given to."""
_MADE_BY: Final = ("_build_request", "_build_headers", "_prepare_options", "_prepare_request", "_process_response")
_HELD: Final = ("api_key", "admin_api_key", "organization", "project", "_base_url", "_custom_headers", "_custom_query",
                "_api_key_provider", "workload_identity", "_provider_runtime", "_client")  # fmt: skip
_PLAIN_JSON: Final = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
)
_NOTHING: Final = Request("POST", "", (), b"")


class Learnt(NamedTuple):
    key: str
    body: bytes
    parsed: Any
    asked: Asked
    size_bytes: int


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
        self._plain = False
        cache = engine.policy.cache
        self._store = cache.store if cache is not None and not cache.store.slow_get else None

    def mark(self, operation: str, arguments: Mapping[str, Any]) -> bytes | None:
        """Return what these arguments are known by, or None when they have to go the long way."""
        if self._store is None or arguments.get("stream") or arguments.get("extra_headers") or not self._unchanged():
            return None
        return _digest(operation, arguments)

    def answer(self, mark: bytes) -> Any:
        """Return the answer for `mark` if it stands in the store and is fresh, else None."""
        with self._lock:
            learnt = self._learnt.get(mark)
            if learnt is None or self._store is None:
                return None
            self._learnt.move_to_end(mark)
        clock = self._engine.clock
        asked = learnt.asked._replace(started=clock.monotonic())
        try:
            entry = self._store.get(learnt.key, clock.wall())
        except Exception:
            return None  # the long way reports it
        if entry is None or entry.streamed or entry.body != learnt.body or not self._engine.fresh(asked, entry):
            return None
        self._engine.ledger.hit(asked, entry, "hit")
        return copied(learnt.parsed)

    def learn(self, mark: bytes, operation: str, arguments: Mapping[str, Any], key: str, parsed: Any) -> None:
        """Remember that `mark` made the request with `key`, and that `parsed` is its answer."""
        if self._store is None or _digest(operation, arguments) != mark:
            return  # somebody changed the arguments meanwhile: which of them were sent, nobody can tell
        try:
            entry = self._store.get(key, self._engine.clock.wall())
        except Exception:
            return
        if entry is None or entry.streamed:
            return
        wanted = Operation(operation, str(arguments.get("model", "")), False, None, "", True)
        document: dict[str, Any] = dict(arguments)
        rules = self._engine.policy.guard if self._engine.policy.hooks else None  # whom detections are told
        seen = guard.detections(rules, orjson.dumps(document), document) if rules is not None else ()
        asked = Asked(_NOTHING, wanted, ANY, key, context.current().tenant, 0.0, None, seen)
        size = 4096 + 12 * len(entry.body)
        with self._lock:
            self._forget(mark)
            self._learnt[mark] = Learnt(key, entry.body, copied(parsed), asked, size)
            self._size_bytes += size
            while self._size_bytes > self._max_bytes:
                self._forget(next(iter(self._learnt)))

    def _forget(self, mark: bytes) -> None:
        old = self._learnt.pop(mark, None)
        self._size_bytes -= old.size_bytes if old is not None else 0

    def _unchanged(self) -> bool:
        """Whether the client makes the same requests of the same arguments as when the memory began."""
        held = [getattr(self._client, name) for name in _HELD]
        if len(held) != len(self._held) or any(new is not old for new, old in zip(held, self._held, strict=True)):
            with self._lock:
                self._learnt.clear()
                self._size_bytes = 0
                self._held, self._plain = held, self._is_plain()
        return self._plain and all(cookie.name in NEUTRAL_COOKIES for cookie in self._client._client.cookies.jar)

    def _is_plain(self) -> bool:
        client = self._client
        ours = next(kind for kind in type(client).__mro__ if kind.__module__ == "tailrace.client.openai")
        return (
            client._api_key_provider is None
            and client.workload_identity is None
            and client._provider_runtime is None
            and not any(name.lower() == "cache-control" for name in client._custom_headers)
            and all(getattr(type(client), name) is getattr(ours, name) for name in _MADE_BY)
        )


def _digest(operation: str, arguments: Mapping[str, Any]) -> bytes | None:
    """Return what the arguments are known by, as they are now."""
    try:
        text = orjson.dumps(arguments, option=_PLAIN_JSON)
    except TypeError:  # something that only the SDK knows how to send
        return None
    if b":null" in text or b",null" in text or b"[null" in text:
        return None  # None is not NaN, which would look the same
    tenant = context.current().tenant.encode("utf-8", "surrogatepass")
    return hashlib.sha256(b"%b %d:%b %b" % (operation.encode(), len(tenant), tenant, text)).digest()
