"""Get an answer from the provider, store it when it is complete, and account for it.

A shared fetch runs detached from its callers, so that one who gives up takes nobody's answer away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import openai

from tailrace.client import errors
from tailrace.client.call import answers, fallback
from tailrace.client.call.attempts import Attempts
from tailrace.client.call.causes import Cause, cause
from tailrace.client.call.effects import Blocking, Event, Lease, Load, Meter, Release, Save, Sleep, Work
from tailrace.client.call.ledger import Ledger
from tailrace.client.call.pending import FetchResult, PendingCall
from tailrace.client.clock import Clock
from tailrace.client.policy import Policy
from tailrace.client.response.watch import StreamWatch
from tailrace.client.stores import Entry
from tailrace.client.stores.entry import tenant_digest
from tailrace.client.wire import Response, Unanswered, header
from tailrace.protocol import failures, media
from tailrace.protocol.answer import AnswerReader
from tailrace.protocol.body import read_sound
from tailrace.protocol.reading import NO_ANSWER, Answer

STORED: Final = frozenset({"content-type", "x-request-id", "openai-model", "openai-version", "openai-processing-ms"})
"""Headers that belong to the answer. Cookies and rate limits belong to the moment in which it was given."""
UNFINISHED: Final = frozenset({failures.CUT_STREAM, failures.CUT_BODY})
_POLL_S: Final = 0.02
_LONGEST_MODEL: Final = 128


class Fetcher:
    """Everything beyond the cache lookup, for one policy."""

    def __init__(self, policy: Policy, clock: Clock, event: Callable[[], Event], ledger: Ledger) -> None:
        fallback.check(policy)
        self._policy = policy
        self._clock = clock
        self._ledger = ledger
        self.attempts = Attempts(policy, clock, event)
        self.abandoned: deque[PendingCall] = deque()
        """Calls whose streams were left to the garbage collector, to be booked with the next call."""
        cache = policy.cache
        self._kept_s, self._max_entry_bytes = (cache.kept_s, cache.max_entry_bytes) if cache is not None else (0.0, 0)
        # a store that does not say whether it is shared may be
        self._leases = cache is not None and cache.coalesce and getattr(cache.store, "shared", True)

    def fetch(self, call: PendingCall) -> Work[FetchResult]:
        """Get the answer to `call`. When several processes share the store, one of them fetches for all."""
        call.fetching = True
        if self.abandoned:
            yield from self._account_for_abandoned()
        try:
            if self._leases and call.original.key and call.original.envelope.wishes.lookup:
                stored = yield from self._lease(call)
                if stored is not None:
                    return FetchResult(stored, "coalesced", call.original.key)
            if self._ledger.spend_limiter is not None and (asked := self._ledger.reserve(call)) is not None:
                yield from asked
            response = yield from self._fallbacks(call) if self._policy.fallbacks else self.attempts.run(call)
        except BaseException as error:
            stale = yield from self._failed(call, error)
            if stale is None:
                raise
            return stale
        if response.key:  # a fallback's answer from the store
            self._ledger.settle(call, 0.0)
            yield from self._give_back(call)
            return FetchResult(response, "hit", response.key, call.sent, call.backoff_s)
        if not isinstance(response.body, bytes):
            return (yield from self._streamed(call, response))
        if call.stale_entry is not None and failing(response):
            return (yield from self._stale(call, call.stale_entry, 0.0))
        current = call.current
        readable = current.known and (response.status < 400 or response.failure) and not call.malformed
        facts = read_sound(call.document, current.envelope.operation) if readable else NO_ANSWER
        cost_usd = self._settle(call, facts, response)
        keep = facts.complete and response.status == 200 and len(response.body) <= self._most_bytes(call)
        call.over, failed = not keep, answers.failure(call, facts, response)
        stopped: BaseException | None = None  # as in `_close`, without a generator more for every call
        if keep:
            try:
                yield Save(current.key, self._entry(call, response, (response.body,), facts, cost_usd))
            except BaseException as error:
                stopped = error
        self._ledger.book(call, response.status, cost_usd, failed, facts)
        if call.lease or self._ledger.unsettled:
            yield from self._give_back(call, stopped)
        if stopped is not None:
            raise stopped
        key = current.key if keep else ""
        return FetchResult(response, call.cache, key, call.sent, call.backoff_s, cost_usd, failed)

    def _fallbacks(self, call: PendingCall) -> Work[Response[Any]]:
        """Return the first good answer of the provider and its fallbacks, each looked up before it is tried."""
        choices = fallback.choices(call, self._policy)
        for index, choice in enumerate(choices):
            call.current, last = choice, index == len(choices) - 1
            if index and choice.key:
                stored = yield from self._look_up(call)
                if stored is not None:
                    return stored
            try:
                response = yield from self.attempts.run(call)
            except errors.DeadlineExceeded:
                raise
            except openai.APIConnectionError as error:
                if last or not (index or _cause(error) in self._policy.fallback_on):
                    raise
                continue
            why = cause(response, call.malformed)
            # once the fallbacks are asked, one that fails for any cause is passed over
            if last or why is None or not (index or why in self._policy.fallback_on):
                return response
        raise AssertionError("there is always a last choice")

    def _failed(self, call: PendingCall, error: BaseException) -> Work[FetchResult | None]:
        """Return the stale entry when the provider fails and there is one; else book the failure."""
        call.current, call.over = call.original, True
        cost_usd = None if call.sent else 0.0
        if call.stale_entry is not None and isinstance(error, openai.APIConnectionError):
            return (yield from self._stale(call, call.stale_entry, cost_usd))
        if isinstance(error, errors.BudgetExceeded | errors.BodyChanged):
            error.after(call.sent, call.elapsed_s())
        self._ledger.settle(call, cost_usd)
        self._ledger.failed(call, error)
        yield from self._give_back(call, error)
        return None

    def _stale(self, call: PendingCall, entry: Entry, cost_usd: float | None) -> Work[FetchResult]:
        """Give `entry` in place of the error. It is one call, with the attempts that were made before."""
        call.current, call.cache, call.over = call.original, "stale", True
        self._ledger.settle(call, cost_usd)
        self._ledger.hit(call, entry, cost_usd)
        yield from self._give_back(call)
        response = Response[Any](entry.status, entry.headers, entry.answer)
        return FetchResult(response, "stale", call.original.key, call.sent, call.backoff_s, cost_usd)

    def _lease(self, call: PendingCall) -> Work[Response[Any] | None]:
        """Take the lease of the key, or wait for the answer of the process that holds it."""
        cache, key = self._policy.cache, call.original.key
        assert cache is not None
        give_up_at = self._clock.monotonic() + cache.lease_s
        waited = False
        while not (yield Lease(key, cache.lease_s)):
            left_s = call.left_s()
            if self._clock.monotonic() >= give_up_at or (left_s is not None and left_s <= 0):
                return None
            waited = True
            yield Sleep(_POLL_S * (0.5 + self._clock.chance()))
            stored = yield from self._look_up(call)
            if stored is not None:
                return stored
        call.lease = key
        # the process that held it may have saved its answer just before our turn came
        stored = (yield from self._look_up(call)) if waited else None
        if stored is not None:
            yield from self._release_lease(call)
        return stored

    def _give_back(self, call: PendingCall, error: BaseException | None = None) -> Work[None]:
        """Settle in the store of the budget, and give the lease back."""
        if self._ledger.unsettled and not isinstance(error, GeneratorExit):
            yield Blocking(self._ledger.flush)
        yield from self._release_lease(call, error)

    def _release_lease(self, call: PendingCall, error: BaseException | None = None) -> Work[None]:
        """Give the lease back. When nobody is left to do so (GeneratorExit), it expires by itself."""
        if call.lease and not isinstance(error, GeneratorExit):
            key, call.lease = call.lease, ""
            yield Release(key)

    def _look_up(self, call: PendingCall) -> Work[Response[Any] | None]:
        """Return the fresh answer that another call has stored meanwhile, and book it."""
        key, cache = call.current.key, self._policy.cache
        entry: Entry | None = yield Load(key)
        if entry is None or cache is None or call.age_s(entry) >= cache.ttl_s:
            return None
        call.cache = "hit" if call.sent else "coalesced"
        self._ledger.hit(call, entry)
        return Response(entry.status, entry.headers, entry.answer, key)

    def _streamed(self, call: PendingCall, response: Response[Any]) -> Work[FetchResult]:
        """Hand on a stream, which is read, stored and booked while it passes."""
        watch = StreamWatch(_reader(call, response), self._most_bytes(call), self._clock.monotonic)
        limits = self._policy.limits
        body = yield Meter(
            response,
            watch,
            finish=partial(self._stream_ended, call, response, watch),
            broken=partial(errors.broken, request=call.current.request),
            late=partial(call.late, "the answer was still streaming"),
            abandoned=partial(self._stream_abandoned, call),
            idle_s=limits.idle_s if limits is not None else None,
            deadline_at=call.ends_at,
            renewal=call.renewal,
        )
        answer = Response(response.status, response.headers, body)
        return FetchResult(answer, call.cache, "", call.sent, call.backoff_s, None)

    def _stream_ended(
        self, call: PendingCall, response: Response[Any], watch: StreamWatch, error: BaseException | None
    ) -> Work[None]:
        """Store and book a stream that is over; `error` is None when it came to its end."""
        call.release_permit()
        facts = watch.end(error is None)
        cost_usd = self._settle(call, facts, response)
        chunks = watch.whole
        keep = facts.complete and chunks and response.status == 200
        call.over = not keep
        entry = self._entry(call, response, chunks, facts, cost_usd) if keep and chunks else None
        failed = answers.failure(call, facts, response)
        book = partial(self._ledger.book, call, response.status, cost_usd, failed, facts)
        # a reader who has the terminator, or an error, may leave; without it, the stream was left or broke
        if error is not None and (facts.failure in UNFINISHED or not call.current.known):
            book = partial(self._ledger.failed, call, error, facts, response.status)
        yield from self._close(call, entry, book)

    def _stream_abandoned(self, call: PendingCall) -> None:
        """Note that nobody holds the stream any more. The garbage collector calls this, at any moment, in any thread.

        Permit and reservation are given back now. The hooks hear of it with the next call: here they could wait for a
        lock that this very thread holds.
        """
        call.release_permit()
        self._ledger.settle(call, None)
        self.abandoned.append(call)

    def _account_for_abandoned(self) -> Work[None]:
        while self.abandoned:
            call = self.abandoned.popleft()
            self._ledger.failed(call, GeneratorExit())
            yield from self._give_back(call)

    def _close(self, call: PendingCall, entry: Entry | None, book: Callable[[], None]) -> Work[None]:
        """Store the answer, book it, and let other processes go on, also when the caller is stopped meanwhile."""
        stopped: BaseException | None = None
        if entry is not None:
            try:
                yield Save(call.current.key, entry)
            except BaseException as error:
                stopped = error
        book()
        if call.lease or self._ledger.unsettled:
            yield from self._give_back(call, stopped)
        if stopped is not None:
            raise stopped

    def _settle(self, call: PendingCall, facts: Answer, response: Response[Any]) -> float | None:
        """Tell rates and ledger what the answer used, and return its cost."""
        cost_usd = self._ledger.cost_usd(call, facts, response)
        if self.attempts.rates is not None:
            self.attempts.used(call, facts.usage)
        self._ledger.settle(call, cost_usd)
        return cost_usd

    def _most_bytes(self, call: PendingCall) -> int:
        """Return how large an answer may be to be stored; 0 when it must not be."""
        return self._max_entry_bytes if call.current.key else 0

    def _entry(
        self, call: PendingCall, response: Response[Any], chunks: tuple[bytes, ...], facts: Answer,
        cost_usd: float | None,
    ) -> Entry:  # fmt: skip
        headers = tuple([(lower, value) for name, value in response.headers if (lower := name.lower()) in STORED])
        usage, now, tenant = facts.usage, self._clock.wall(), tenant_digest(call.tenant) if call.tenant else ""
        return Entry(
            response.status, headers, chunks, not isinstance(response.body, bytes), now,
            now + self._kept_s, facts.model or call.current.model, usage.in_tok, usage.out_tok, usage.cached_tok,
            usage.reasoning_tok, cost_usd, call.original.model[:_LONGEST_MODEL], tenant,
        )  # fmt: skip


def _cause(error: openai.APIConnectionError) -> Cause:
    """Return why no answer came; a circuit is open because the provider failed."""
    outcome = error.__cause__
    return (isinstance(outcome, Unanswered) and cause(outcome)) or "server"


def failing(response: Response[Any]) -> bool:
    """Whether the provider fails or is overloaded, so that an older correct answer is better."""
    return response.status >= 500 or response.status == 429


def _reader(call: PendingCall, response: Response[Any]) -> AnswerReader | None:
    """Return what reads the streamed body of `response`; None when the operation is not known."""
    current = call.current
    if not current.known:
        return None
    streamed = current.stream or media.is_event_stream(header(response.headers, "content-type") or "")
    return AnswerReader(streamed, current.envelope.operation)
