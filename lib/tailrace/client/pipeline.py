"""The policy, written once: validate → deadline → cache → single-flight → fetch → account.

A hit touches no budget, permit or breaker. Single-flight wraps the whole fetch, retries and all, else N waiters
make N storms. Nothing here waits or sends: it yields effects, which a driver carries out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import openai

from tailrace.client import context
from tailrace.client.accounting import Label
from tailrace.client.call import Asked, Fetched, Trail
from tailrace.client.clock import Clock
from tailrace.client.effects import Background, Event, Join, Load, Work
from tailrace.client.errors import ConnectionFailed, DeadlineExceeded, InputRejected
from tailrace.client.fetch import Fetcher, failing
from tailrace.client.ledger import Ledger
from tailrace.client.policy import Cache, Policy
from tailrace.client.request import envelope, guard, operation
from tailrace.client.request.key import cache_key
from tailrace.client.stores import Entry
from tailrace.client.wire import Replay, Request, Response, Unanswered, stamped


class Engine:
    """One policy at work: its state, and the way of a call through it."""

    def __init__(self, policy: Policy, clock: Clock, event: Callable[[], Event]) -> None:
        self.policy = policy
        self.clock = clock
        self.ledger = Ledger(policy, clock)
        self._envelope = envelope.reader(policy.cache.namespace if policy.cache is not None else "")
        self.fetcher = Fetcher(policy, clock, event, self.ledger)

    def call(self, request: Request) -> Work[Response[Any]]:
        """Carry `request` through the policy. Raises what `tailrace.client.errors` lists."""
        asked, cache = self.asked(request), self.policy.cache
        if not asked.key or cache is None:
            return _answer(asked, (yield from self.fetcher.fetch(asked, "bypass")))
        if asked.envelope.wishes.lookup:
            entry: Entry | None = yield Load(asked.key)
            if entry is not None:
                age_s = self.fetcher.age_s(entry, asked)
                if age_s < cache.ttl_s:
                    return self._given(asked, entry, "hit")
                if age_s < cache.ttl_s + cache.stale_while_revalidate_s:
                    again = asked.begun(self.clock.monotonic())
                    yield Background(asked.key, partial(self.fetcher.fetch, again, "miss"))
                    return self._given(asked, entry, "stale")
                asked.old = entry if age_s < cache.ttl_s + cache.stale_if_error_s else None
            if cache.coalesce:
                return (yield from self._joined(asked))
        return _answer(asked, (yield from self.fetcher.fetch(asked, "miss")))

    def asked(self, request: Request) -> Asked:
        """Return `request` with all that the policy has to know of it; InputRejected when the guard objects."""
        scope, limits, cache = context.current(), self.policy.limits, self.policy.cache
        outside = self._envelope(scope.tenant, request.method, request.url, request.headers)
        wanted, key = operation.read(outside, request.body), ""
        if cache is not None and wanted.known and _may_keep(cache, wanted, outside.wishes):
            key = cache_key(outside.asker, request.body, wanted.document if wanted.exact else None)
        started = self.clock.monotonic()
        deadline_at = scope.deadline_at
        if limits is not None and limits.deadline_s is not None:
            deadline_at = context.earlier(deadline_at, started + limits.deadline_s)
        asked = Asked(request, outside, wanted, key, scope.tenant, started, deadline_at, ())
        return self._guarded(asked, self.policy.guard) if self.policy.guard is not None else asked

    def _given(self, asked: Asked, entry: Entry, label: Label) -> Response[Any]:
        self.ledger.hit(asked, entry, label)
        return Response(entry.status, stamped(entry.headers, label, 0, 0.0, 0.0), entry.answer, asked.key)

    def _joined(self, asked: Asked) -> Work[Response[Any]]:
        """Wait for the answer that is being fetched for this key, and fetch it if nobody does."""
        began = False

        def fetch() -> Work[Fetched]:
            nonlocal began
            began = True
            return self.fetcher.fetch(asked, "miss")

        while True:
            left = asked.left_s(self.clock.monotonic())
            if left is not None and left <= 0:
                return self._failed(asked, self._left_behind(asked))
            try:
                fetched, ours = yield Join(asked.key, fetch, left, partial(self._left_behind, asked))
            except TimeoutError:
                if began:  # by a store that stands still; the fetch goes on, and is booked when it ends
                    raise self._left_behind(asked) from None
                return self._failed(asked, self._left_behind(asked))
            except BaseException as error:  # cancelled
                if not began:
                    self.ledger.failed(asked, Trail("coalesced", asked), error)
                raise
            if ours and isinstance(fetched, Fetched):
                return _answer(asked, fetched)
            if isinstance(fetched, Fetched) and (fetched.cache != "stale" or asked.old is not None):
                return self._shared(asked, fetched)
            if fetched is None or isinstance(fetched, Fetched):  # what cannot be shared, or is older than wanted here
                return _answer(asked, (yield from self.fetcher.fetch(asked, "miss")))
            if isinstance(fetched, DeadlineExceeded) and not ours:
                continue  # the other's deadline, not this one's: take its place
            if isinstance(fetched, Unanswered):
                fetched = ConnectionFailed(f"no answer: {fetched}", asked.request)
            if ours:
                raise fetched.with_traceback(None)
            return self._failed(asked, fetched.with_traceback(None))  # one error for many: each way to it is its own

    def _shared(self, asked: Asked, fetched: Fetched) -> Response[Any]:
        """Return what was fetched for another; when that is an error, the old answer if there is one."""
        if asked.old is not None and failing(fetched.response):
            return self._given(asked, asked.old, "stale")
        label: Label = "stale" if fetched.cache == "stale" else "coalesced"
        response = fetched.response
        if isinstance(response.body, Replay):
            response = Response(response.status, response.headers, response.body.again())
        self.ledger.shared(asked, label, response, fetched.cost_usd)
        return _answer(asked, Fetched(response, fetched.key, 0, fetched.backoff_s, 0.0, label))

    def _failed(self, asked: Asked, error: BaseException) -> Response[Any]:
        """Raise `error` for one who waited in vain, or return the old answer if there is one."""
        if asked.old is not None and isinstance(error, openai.APIConnectionError):
            return self._given(asked, asked.old, "stale")
        self.ledger.failed(asked, Trail("coalesced", asked), error)
        raise error

    def _left_behind(self, asked: Asked) -> DeadlineExceeded:
        elapsed = self.clock.monotonic() - asked.started
        error = DeadlineExceeded(f"the deadline passed after {elapsed:.3f} s, waiting for the same call", asked.request)
        error.after(0, elapsed)
        return error

    def _guarded(self, asked: Asked, rules: guard.Guard) -> Asked:
        body, document = asked.request.body, asked.operation.document
        found = guard.objection(rules, body, document, asked.operation.doubt)
        if found is not None:
            error = InputRejected(f"input refused at {found.where}: {found.message}", asked.request, found.where)
            error.after(0, self.clock.monotonic() - asked.started)
            self.ledger.failed(asked, Trail("bypass", asked), error)
            raise error
        if not self.policy.hooks:
            return asked  # detections are told to hooks, and here is none
        detected = guard.detections(rules, body, document)
        return replace(asked, detections=detected) if detected else asked


def _may_keep(cache: Cache, wanted: operation.Operation, wishes: envelope.Wishes) -> bool:
    """Whether answers are deterministic, or the caller said that an earlier one will do; not if he wants none kept."""
    return wishes.store and (not cache.deterministic_only or wishes.max_age_s is not None or wanted.deterministic)


def _answer(asked: Asked, fetched: Fetched) -> Response[Any]:
    response = fetched.response
    key = fetched.key if fetched.key == asked.key else ""  # a fallback's answer is kept as the fallback's
    headers = stamped(response.headers, fetched.cache, fetched.attempts, fetched.backoff_s, fetched.cost_usd)
    return Response(response.status, headers, response.body, key)
