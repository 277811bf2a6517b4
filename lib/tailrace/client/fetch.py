"""Get an answer from the provider, keep it if it is complete, and account for it.

This runs detached where it is shared, so that a caller who gives up takes nobody's answer away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any, Final

import openai

from tailrace.client import errors
from tailrace.client.accounting import Label
from tailrace.client.attempts import Attempts
from tailrace.client.call import Asked, Fetched, Trail
from tailrace.client.clock import Clock
from tailrace.client.effects import Event, Lease, Load, Meter, Release, Save, Sleep, Work
from tailrace.client.ledger import Ledger
from tailrace.client.policy import Policy
from tailrace.client.sse import Watch
from tailrace.client.stores import Entry
from tailrace.client.usage import UNREAD, Reading, reading
from tailrace.client.wire import Headers, Response

KEPT: Final = frozenset({"content-type", "x-request-id", "openai-model", "openai-version", "openai-processing-ms"})
"""Headers that belong to the answer. Cookies and rate limits belong to the moment it was given in."""
SKEW_S: Final = 5.0
"""Clocks of machines that share a store may differ by so much."""
_POLL_S: Final = 0.02


class Fetcher:
    """Everything beyond the cache, for one policy."""

    def __init__(self, policy: Policy, clock: Clock, event: Callable[[], Event], ledger: Ledger) -> None:
        self._policy = policy
        self._clock = clock
        self._ledger = ledger
        self._attempts = Attempts(policy, clock, event, self._looked_up)
        self._left: deque[tuple[Asked, Trail]] = deque()
        cache = policy.cache
        self._kept_s = cache.kept_s if cache is not None else 0.0
        # a store that does not say whether it is shared may be
        self._leases = cache is not None and cache.coalesce and getattr(cache.store, "shared", True)

    def fetch(self, asked: Asked, label: Label) -> Work[Fetched]:
        """Get the answer to `asked`. What is cached for several processes is fetched by one of them."""
        trail = Trail(label, asked)
        if self._left:
            yield from self._after_those_who_left()
        try:
            asks_for_all = self._leases and asked.key and asked.envelope.wishes.lookup
            found = (yield from self._leased(asked, trail)) if asks_for_all else None
            if found is not None:
                return Fetched(found, found.key, 0, 0.0, 0.0, "coalesced")
            self._ledger.reserve(asked, trail)
            response = yield from self._attempts.carried_out(asked, trail)
        except BaseException as error:
            if asked.old is not None and isinstance(error, openai.APIConnectionError):
                return (yield from self._instead(asked, trail, asked.old, None if trail.sent else 0.0))
            if isinstance(error, errors.BudgetExceeded):
                error.after(0, self._clock.monotonic() - asked.started)
            yield from self._failed(asked, trail, error)
            raise
        if response.key:  # a fallback's answer from the store
            self._ledger.settle(asked, trail, 0.0)
            yield from self._let_go(trail)
            return Fetched(response, response.key, trail.sent, trail.backoff_s, 0.0, "hit")
        if not isinstance(response.body, bytes):
            return (yield from self._streamed(asked, trail, response))
        if asked.old is not None and failing(response):
            return (yield from self._instead(asked, trail, asked.old, 0.0))
        answered = trail.asked
        known = answered.operation.known and response.status < 400
        read = reading(trail.document, answered.operation.name) if known else UNREAD
        cost = self._settled(answered, trail, read, response)
        keep = read.complete and response.status == 200 and len(response.body) <= self._most_bytes(answered)
        entry = self._entry(answered, response, (response.body,), read, cost) if keep else None
        book = partial(self._ledger.done, answered, trail, read, response, cost)
        yield from self._closed(answered, trail, entry, book)
        return Fetched(response, answered.key if keep else "", trail.sent, trail.backoff_s, cost, label)

    def fresh(self, entry: Entry, asked: Asked) -> bool:
        """Whether `entry` may be given for `asked` without asking anybody."""
        return self._policy.cache is not None and self.age_s(entry, asked) < self._policy.cache.ttl_s

    def age_s(self, entry: Entry, asked: Asked) -> float:
        """Return the entry's age; infinity when the caller wants none so old, or when the clock went back.

        What came since he asked is not too old for anybody who takes answers from the store.
        """
        age, wishes = self._clock.wall() - entry.stored_at, asked.envelope.wishes
        if age < -SKEW_S or not wishes.lookup:
            return inf
        if wishes.max_age_s is not None and age > wishes.max_age_s + self._clock.monotonic() - asked.started:
            return inf
        return max(0.0, age)

    def _streamed(self, asked: Asked, trail: Trail, response: Response[Any]) -> Work[Fetched]:
        """Hand on a stream, which is read, kept and booked while it passes."""
        answered = trail.asked
        watch = Watch(answered.operation.name, self._most_bytes(answered))
        finish = partial(self._ended, answered, trail, response, watch)
        late = partial(self._attempts.late, asked, trail, "the answer was still streaming")
        idle_s = self._policy.limits.attempt_timeout_s if self._policy.limits is not None else None
        broke = partial(errors.broken, request=asked.request)
        left = partial(self._abandoned, asked, trail)
        body = yield Meter(response, watch, finish, broke, late, left, idle_s, asked.deadline_at)
        streamed = Response(response.status, response.headers, body)
        return Fetched(streamed, "", trail.sent, trail.backoff_s, None, trail.label)

    def _instead(self, asked: Asked, trail: Trail, old: Entry, cost_usd: float | None) -> Work[Fetched]:
        """Give the `old` answer in place of the error, as one call: with what was tried before."""
        self._ledger.settle(asked, trail, cost_usd)
        self._ledger.hit(asked, old, "stale", trail, cost_usd)
        yield from self._let_go(trail)
        response = Response[Any](old.status, old.headers, old.answer)
        return Fetched(response, asked.key, trail.sent, trail.backoff_s, cost_usd, "stale")

    def _leased(self, asked: Asked, trail: Trail) -> Work[Response[Any] | None]:
        """Take the lease for this key, or wait for the answer of the process that has it."""
        cache = self._policy.cache
        assert cache is not None
        give_up_at = self._clock.monotonic() + cache.lease_s
        waited = False
        while True:
            if (yield Lease(asked.key, cache.lease_s)):
                trail.leased = asked.key
                break
            now = self._clock.monotonic()
            left = asked.left_s(now)
            if now >= give_up_at or (left is not None and left <= 0):
                return None
            waited = True
            yield Sleep(_POLL_S * (0.5 + self._clock.chance()))
            found = yield from self._looked_up(asked, trail)
            if found is not None:
                return found
        # whoever had it may have saved its answer just before our turn came
        found = (yield from self._looked_up(asked, trail)) if waited else None
        if found is not None:
            yield from self._let_go(trail)
        return found

    def _let_go(self, trail: Trail, error: BaseException | None = None) -> Work[None]:
        """Give back the lease, unless nobody is there any more to do so: then it ends by itself."""
        if trail.leased and not isinstance(error, GeneratorExit):
            key, trail.leased = trail.leased, ""
            yield Release(key)

    def _looked_up(self, asked: Asked, trail: Trail) -> Work[Response[Any] | None]:
        """Return the fresh answer that somebody put into the store meanwhile, and book it."""
        entry: Entry | None = yield Load(asked.key)
        if entry is None or not self.fresh(entry, asked):
            return None
        self._ledger.hit(asked, entry, "hit" if trail.sent else "coalesced", trail)
        return Response(entry.status, entry.headers, entry.answer, asked.key)

    def _ended(
        self, asked: Asked, trail: Trail, response: Response[Any], watch: Watch, error: BaseException | None
    ) -> Work[None]:
        """A stream is over: `error` is None when it came to its end."""
        self._attempts.release(trail)
        read = watch.reading() if asked.operation.known else UNREAD
        cost = self._settled(asked, trail, read, response)
        chunks = watch.whole
        keep = read.complete and chunks and watch.terminated and response.status == 200
        entry = self._entry(asked, response, chunks, read, cost) if keep and chunks else None
        book = partial(self._ledger.done, asked, trail, read, response, cost)
        if not watch.terminated and (error is not None or asked.operation.known):
            # whoever has the terminator may well leave; without it, the stream was left or cut
            book = partial(self._ledger.failed, asked, trail, error or CutStream(), read, response.status)
        yield from self._closed(asked, trail, entry, book)

    def _closed(self, asked: Asked, trail: Trail, entry: Entry | None, book: Callable[[], None]) -> Work[None]:
        """Keep the answer if it may be kept, book it, let others go on: also when the caller is stopped meanwhile."""
        stopped: BaseException | None = None
        if entry is not None:
            try:
                yield Save(asked.key, entry)
            except BaseException as error:
                stopped = error
        book()
        if trail.leased:
            yield from self._let_go(trail, stopped)
        if stopped is not None:
            raise stopped

    def _settled(self, asked: Asked, trail: Trail, read: Reading, response: Response[Any]) -> float | None:
        """Return what the answer cost, when rates and purse know of it."""
        cost = self._ledger.cost_usd(asked, read, response)
        self._attempts.used(asked, read.usage)
        self._ledger.settle(asked, trail, cost)
        return cost

    def _abandoned(self, asked: Asked, trail: Trail) -> None:
        """Nobody holds the stream any more: the garbage collector calls, at any moment and in any thread.

        Permit and reservation are given back now. The hooks are told with the next call: here they could wait for a
        lock that this very thread holds.
        """
        self._attempts.release(trail)
        self._ledger.settle(asked, trail, None)
        self._left.append((asked, trail))

    def _after_those_who_left(self) -> Work[None]:
        while self._left:
            asked, trail = self._left.popleft()
            self._ledger.failed(asked, trail, GeneratorExit())
            yield from self._let_go(trail)

    def _failed(self, asked: Asked, trail: Trail, error: BaseException) -> Work[None]:
        self._ledger.settle(asked, trail, None if trail.sent else 0.0)
        self._ledger.failed(asked, trail, error)
        yield from self._let_go(trail, error)

    def _most_bytes(self, asked: Asked) -> int:
        """Return how large an answer may be to be kept; 0 when it must not be."""
        cache = self._policy.cache
        return cache.max_entry_bytes if cache is not None and asked.key else 0

    def _entry(
        self, asked: Asked, response: Response[Any], chunks: tuple[bytes, ...], read: Reading, cost: float | None
    ) -> Entry:
        usage, now = read.usage, self._clock.wall()
        return Entry(
            response.status, _kept(response.headers), chunks, not isinstance(response.body, bytes), now,
            now + self._kept_s, read.model or asked.operation.model, usage.in_tok, usage.out_tok, usage.cached_tok,
            usage.reasoning_tok, cost,
        )  # fmt: skip


def failing(response: Response[Any]) -> bool:
    """Whether the provider fails, or asks to be left alone: a correct answer of some time ago is better."""
    return response.status >= 500 or response.status == 429


class CutStream(Exception):
    """A stream that ended without its terminator; named in the accounts, never raised."""


def _kept(headers: Headers) -> Headers:
    return tuple([(name, value) for given, value in headers if (name := given.lower()) in KEPT])
