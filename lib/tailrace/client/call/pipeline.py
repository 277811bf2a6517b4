"""The policy, written once: validate → deadline → cache → single-flight → fetch → account.

A hit touches no budget, permit or breaker. Single-flight wraps the whole fetch with its retries, else N waiting
callers would make N storms. Nothing here waits or sends: it yields effects, which a driver carries out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import openai
import orjson

from tailrace.client import context
from tailrace.client.accounting import Label
from tailrace.client.call.effects import Background, Event, Join, Load, Work
from tailrace.client.call.fetch import Fetcher, failing
from tailrace.client.call.ledger import Ledger
from tailrace.client.call.pending import FetchResult, PendingCall
from tailrace.client.clock import Clock
from tailrace.client.errors import ConnectionFailed, DeadlineExceeded, InputRejected
from tailrace.client.policy import Cache, Limits, Policy
from tailrace.client.request import envelope, guard
from tailrace.client.request.identity import Identify, identifier
from tailrace.client.request.key import cache_key
from tailrace.client.request.parsed import ParsedRequest, parse
from tailrace.client.response.shared_streams import Subscription
from tailrace.client.stores import Entry
from tailrace.client.wire import Headers, Replay, Request, Response, Unanswered, stamped

_WAITING = "waiting for the same call"


class Pipeline:
    """One policy at work: its state, and the way of each call through it."""

    def __init__(self, policy: Policy, clock: Clock, event: Callable[[], Event]) -> None:
        self.policy = policy
        self.clock = clock
        self.ledger = Ledger(policy, clock)
        self.fetcher = Fetcher(policy, clock, event, self.ledger)
        cache, limits = policy.cache, policy.limits or Limits(breaker=None)
        self._deadline_s, self._first_byte_s = limits.deadline_s, limits.first_byte_s
        self._envelope = envelope.reader(cache.namespace, cache.left_out) if cache is not None else envelope.reader("")
        self._identify = identifier(cache.identity) if cache is not None else None

    @property
    def mishaps(self) -> int:
        """How often a hook, the look-up of a price or a budget has failed; no call was lost by it."""
        hooks = self.fetcher.attempts.hooks
        return self.ledger.mishaps.count + (0 if hooks is None else hooks.mishaps.count)

    def run(self, request: Request) -> Work[Response[Any]]:
        """Carry `request` through the policy. Raise what `tailrace.client.errors` lists."""
        call, cache = self._opened(request), self.policy.cache
        key = call.original.key
        if cache is None or not key:
            call.cache = "bypass"
        elif call.original.envelope.wishes.lookup:
            entry: Entry | None = yield Load(key)
            if entry is not None:
                age_s = call.age_s(entry)
                if age_s < cache.ttl_s:
                    return self._from_store(call, entry, "hit")
                if age_s < cache.ttl_s + cache.stale_while_revalidate_s:
                    again = call.restarted()
                    yield Background(key, partial(self.fetcher.fetch, again), again)
                    return self._from_store(call, entry, "stale")
                if age_s < cache.ttl_s + cache.stale_if_error_s:
                    call.stale_entry = entry
            if cache.coalesce:
                return (yield from self._coalesced(call))
        return _answer(call, (yield from self.fetcher.fetch(call)))

    def _opened(self, request: Request) -> PendingCall:
        """Return the call that `request` begins. Raise InputRejected when the guard objects."""
        scope, cache = context.current(), self.policy.cache
        # each form has a boundary of its own: with it, envelopes would be remembered in vain
        headers = request.headers if request.upload is None else _without_content(request.headers)
        outside = self._envelope(scope.tenant, request.method, request.url, headers)
        parsed = parse(request, outside)
        if cache is not None and parsed.known and _may_store(cache, parsed) and (
            self._identify is None or _identified(parsed, self._identify)
        ):  # fmt: skip
            asker = outside.asker + parsed.identity
            parsed.key = cache_key(asker, request.body, parsed.document if parsed.exact else None)
        started, ends_at = self.clock.monotonic(), scope.deadline_at
        if self._deadline_s is not None:
            most_at = started + self._deadline_s
            ends_at = most_at if ends_at is None else min(ends_at, most_at)
        deadline_at = ends_at
        if self._first_byte_s is not None:
            deadline_at = context.earlier(deadline_at, started + self._first_byte_s)
        call = PendingCall(
            original=parsed, current=parsed, clock=self.clock, tenant=scope.tenant, started=started,
            deadline_at=deadline_at, ends_at=ends_at,
        )  # fmt: skip
        if self.policy.guard is not None:
            self._guarded(call, self.policy.guard)
        return call

    def _guarded(self, call: PendingCall, rules: guard.Guard) -> None:
        """Raise InputRejected when the guard objects; note what it detects, when there is a hook to tell."""
        parsed = call.original
        request, body, document = parsed.request, parsed.request.body, parsed.document
        if parsed.form is not None:  # its texts are guarded; how large a file may be is the provider's affair
            document = dict(parsed.form)
            body = orjson.dumps(document)
        objection = guard.objection(rules, body, document, parsed.doubt)
        if objection is not None:
            where, reason = objection
            error = InputRejected(f"input refused at {where}: {reason}", request, where)
            error.after(0, call.elapsed_s())
            call.cache = "bypass"
            self.ledger.failed(call, error)
            raise error
        if self.policy.hooks:
            call.detections = guard.detections(rules, body, document)

    def _from_store(self, call: PendingCall, entry: Entry, label: Label) -> Response[Any]:
        """Give the answer in the store."""
        call.cache = label
        self.ledger.hit(call, entry)
        return Response(entry.status, stamped(entry.headers, label, 0, 0.0, 0.0), entry.answer, call.original.key)

    def _coalesced(self, call: PendingCall) -> Work[Response[Any]]:
        """Wait for the answer that is being fetched for this key, or fetch it when nobody does."""
        fetch, late = partial(self.fetcher.fetch, call), partial(call.late, _WAITING)
        while True:
            left_s = call.left_s()
            if left_s is not None and left_s <= 0:
                return self._waited_in_vain(call, late())
            stream_s = left_s if call.ends_at == call.deadline_at else call.stream_left_s()
            try:
                result, ours = yield Join(call.original.key, fetch, call, left_s, late, stream_s)
            except TimeoutError:
                if call.fetching:  # and a store stands still; the fetch goes on, and is booked when it ends
                    raise late() from None
                return self._waited_in_vain(call, late())
            except BaseException as error:  # cancelled
                if not call.fetching:
                    call.cache = "coalesced"
                    self.ledger.failed(call, error)
                raise
            if ours and isinstance(result, FetchResult):
                return _answer(call, result)
            if isinstance(result, FetchResult) and (result.cache != "stale" or call.stale_entry is not None):
                return self._shared(call, result)
            if result is None or isinstance(result, FetchResult):  # it cannot be shared, or is too old for this call
                return _answer(call, (yield from self.fetcher.fetch(call)))
            if isinstance(result, DeadlineExceeded) and not ours:
                continue  # the deadline of the other call, not of this one: take its place
            if isinstance(result, Unanswered):
                result = ConnectionFailed(f"no answer: {result}", call.original.request)
            result = result.with_traceback(None)  # one error for many callers: each gets a traceback of its own
            if ours:
                raise result
            return self._waited_in_vain(call, result)

    def _shared(self, call: PendingCall, result: FetchResult) -> Response[Any]:
        """Give what was fetched for another call; in place of an error, the stale entry if there is one."""
        if call.stale_entry is not None and failing(result.response):
            return self._from_store(call, call.stale_entry, "stale")
        call.cache = "stale" if result.cache == "stale" else "coalesced"
        response = result.response
        if isinstance(response.body, Replay):
            response = Response(response.status, response.headers, response.body.again())
        if isinstance(response.body, Subscription):
            response.body.ended = partial(self._shared_stream_ended, call, response, response.body)
            response.body.abandoned = partial(self.fetcher.abandoned.append, call)
        else:
            self.ledger.shared(call, response, result.cost_usd, result.failure)
        return _answer(call, FetchResult(response, call.cache, result.key, 0, result.backoff_s))

    def _shared_stream_ended(
        self, call: PendingCall, response: Response[Any], body: Subscription, error: BaseException | None
    ) -> None:
        """Book a call that read the stream of another one; `error` is None when it read to the end."""
        if error is None or body.over or body.failure or body.cut:
            answer = body.answer
            saved_usd = self.ledger.cost_usd(call, answer, response)
            self.ledger.shared(call, response, saved_usd, body.failure or answer.failure)
        else:
            self.ledger.failed(call, error, status=response.status)

    def _waited_in_vain(self, call: PendingCall, error: BaseException) -> Response[Any]:
        """Raise `error` for a call that only waited, or give the stale entry if there is one."""
        if call.stale_entry is not None and isinstance(error, openai.APIConnectionError):
            return self._from_store(call, call.stale_entry, "stale")
        call.cache = "coalesced"
        self.ledger.failed(call, error)
        raise error


def _may_store(cache: Cache, parsed: ParsedRequest) -> bool:
    """Whether the caller allows it, and the answer is deterministic or the caller accepts an earlier one."""
    wishes = parsed.envelope.wishes
    if not wishes.store:
        return False
    if cache.deterministic_only and wishes.max_age_s is None:
        return parsed.deterministic
    return not parsed.has_side_effect


def _identified(parsed: ParsedRequest, identify: Identify) -> bool:
    """Whether it is known who asks, by what the policy puts in the place of the credential."""
    identity = identify(parsed.request)
    parsed.identity = identity or b""
    return identity is not None


def _without_content(headers: Headers) -> Headers:
    return tuple([pair for pair in headers if not pair[0].lower().startswith("content-")])


def _answer(call: PendingCall, result: FetchResult) -> Response[Any]:
    """Return the response to the caller, with what the client did for it in its headers."""
    response = result.response
    key = result.key if result.key == call.original.key else ""  # a fallback's answer is stored under its own key
    headers = stamped(response.headers, result.cache, result.attempts, result.backoff_s, result.cost_usd)
    return Response(response.status, headers, response.body, key)
