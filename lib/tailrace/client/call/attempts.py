"""Attempts until there is an answer: budget → retry { breaker → permit → attempt timeout → send → cause }.

The permit is released during backoff. When the next wait would pass the deadline, the call fails now.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tailrace.client.call import answers
from tailrace.client.call.attempt_hooks import attempt_hooks
from tailrace.client.call.balancing import Targets, Turn
from tailrace.client.call.causes import Cause, cause
from tailrace.client.call.effects import Event, Send, Sleep, Wait, Work
from tailrace.client.call.hedging import Race, Way, must_go_once
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.retry import Outcome, backoff_s, health, retry_after_s, retryable, wait_s
from tailrace.client.clock import Clock
from tailrace.client.errors import CircuitOpen, no_answer
from tailrace.client.limiters.breaker import CircuitBreaker
from tailrace.client.limiters.concurrency import Permits
from tailrace.client.limiters.destinations import Destination, Destinations
from tailrace.client.limiters.rate import Rates, rates
from tailrace.client.policy import Limits, Policy
from tailrace.client.request.parsed import ParsedRequest
from tailrace.client.wire import Request, Response, Unanswered
from tailrace.protocol.usage import Usage


class Attempts:
    """The retry loop of one policy, and the limits that all its attempts share."""

    def __init__(self, policy: Policy, clock: Clock, event: Callable[[], Event]) -> None:
        self._retry = retry = policy.retry
        limits = policy.limits or (Limits() if policy.targets else Limits(breaker=None))
        self._timeout_s, self._silence_s = limits.attempt_timeout_s, limits.idle_s
        self.clock = clock
        self._event = event
        self.hooks = attempt_hooks(policy)
        self._targets = self.destinations = None
        self._anywhere = Destination(None, None, clock.monotonic())
        if _by_destination(policy, limits):
            self.destinations = Destinations(limits, clock.monotonic, retry)
            self._targets = Targets(policy, limits, clock, self.destinations) if policy.targets else None
        fixed = None if limits.concurrency == "adaptive" else limits.concurrency
        self.permits = Permits(fixed) if fixed is not None else None
        self.rates = rates(limits, clock.monotonic)
        self._hedge_after_s = limits.hedge_after_s
        self._tags = retry is not None and retry.idempotency_key

    def run(self, call: PendingCall) -> Work[Response[Any]]:
        """Return the provider's answer to the current request of `call`; raise what no answer means."""
        request = tagged = self._with_idempotency_key(call.current)
        failures, turn = 0, self._targets.turn(call) if self._targets is not None else None
        while True:
            if turn is not None:
                request = yield from turn.next(tagged)
            outcome = yield from self._attempt(call, request, turn, not failures)
            failures += 1
            why = cause(outcome, call.malformed)
            if why is None and turn is None and self.hooks is None:
                return _answer(call, outcome)
            if turn is not None:
                turn.ended(outcome, why)
            again = why is not None and _hopeful(outcome, why, turn)
            attempt = None
            if self.hooks is not None:
                attempt = self.hooks.row(call, outcome, why)
                again = why is not None and self.hooks.retryable(attempt, again)
            pause_s = self._next_wait_s(call, request, outcome, failures, turn) if again else None
            if self.hooks is not None and attempt is not None:
                self.hooks.tell(attempt, pause_s)
            if pause_s is None:
                return _answer(call, outcome)
            call.backoff_s += pause_s
            yield Sleep(pause_s)

    def used(self, call: PendingCall, usage: Usage) -> None:
        """Correct the estimate of the tokens of `call` by those it used."""
        taken = call.rates or self.rates
        if taken is not None and usage.known:
            taken.settle(_estimated_tok(call.current), usage.in_tok + usage.out_tok)

    def _attempt(self, call: PendingCall, request: Request, turn: Turn | None, first: bool) -> Work[Outcome]:
        """Make one attempt as soon as breaker, rates and permits allow it."""
        destination = self.destinations.of(call.current) if self.destinations is not None else self._anywhere
        breaker, permits = destination.breaker, destination.permits or self.permits
        if first and (retries := destination.retries) is not None:  # no model takes the retries of another
            retries.earn()
            call.retries = retries
        if breaker is not None and (open_s := breaker.admit()) > 0:
            message = f"not sent: too many calls failed just now; the next may be sent in {open_s:.1f} s"
            raise call.traced(CircuitOpen(message, request))
        outcome: Outcome | None = None
        try:
            if self.rates is not None:
                yield from self._wait_for_rates(call, call.rates or self.rates)
            if permits is not None:
                if not permits.try_acquire():
                    yield from self._wait_for_permit(call, permits)
                call.permits = permits
            if call.renewal is not None and (due := call.renewal.due()) is not None:
                yield from due
            began = self.clock.monotonic()
            destination.used_at = began
            timeout_s, silence_s = self.time_s(call, began)
            call.sent += 1
            opening = partial(answers.opening, call) if call.current.known else None
            race = None
            if (after_s := self._hedge_after_s) is not None and not must_go_once(call.current):
                way = Way(request, call.current, call.target, call.rates, breaker, permits, began)
                race = Race(self, call, way, turn, after_s)
            try:
                outcome = yield Send(request, timeout_s, silence_s, race, opening)
            except Unanswered as error:
                outcome = error.with_traceback(None)  # it holds this frame, and with it a stream that comes later
            finally:
                if race is not None:
                    breaker, began = race.won.breaker, race.won.began
            call.attempts_s.append(self.clock.monotonic() - began)
            if call.current.known:
                outcome = answers.read(call, outcome)
        finally:
            self._over(call, outcome, breaker)
        return outcome

    def _over(self, call: PendingCall, outcome: Outcome | None, breaker: CircuitBreaker | None) -> None:
        """Report the outcome to breaker and permits, and give the permit back; a stream holds it to its end.

        An attempt that was stopped, or never made (None), says nothing about the provider.
        """
        if outcome is None:
            if breaker is not None:
                breaker.withdraw()
            call.release_permit()
            return
        good = isinstance(outcome, Response) and outcome.status < 400
        failed, overloaded = (False, False) if good else health(outcome)
        if breaker is not None:
            breaker.report(True if call.malformed else failed)
        if isinstance(outcome, Unanswered) or isinstance(outcome.body, bytes):
            call.release_permit(overloaded)
        elif call.permits is not None:
            call.permits.report(overloaded)

    def _wait_for_permit(self, call: PendingCall, permits: Permits) -> Work[None]:
        """Wait for a permit, at most until the deadline."""
        began, event = self.clock.monotonic(), self._event()
        if not permits.acquire(event, (call.original.envelope.credential, call.tenant)):
            acquired = False
            try:
                acquired = yield Wait(event, call.left_s())
            finally:
                if not acquired:
                    permits.withdraw(event)
            if not acquired:
                raise call.late("waiting for a permit", "permit")
        call.queued_s += self.clock.monotonic() - began

    def _wait_for_rates(self, call: PendingCall, taken: Rates) -> Work[None]:
        """Wait as long as the rates demand; fail at once when that would pass the deadline."""
        began, estimated_tok = self.clock.monotonic(), _estimated_tok(call.current)
        wait_s = taken.reserve(estimated_tok)
        left_s = call.left_s()
        if left_s is not None and wait_s >= left_s:
            taken.give_back(estimated_tok)
            raise call.late(f"the rate limit demands a wait of {wait_s:.1f} s", "rate", wait_s)
        if wait_s > 0:
            yield Sleep(wait_s)
            call.queued_s += self.clock.monotonic() - began

    def time_s(self, call: PendingCall, now: float) -> tuple[float | None, float | None]:
        """Return how long this attempt may take, and how long each wait within its stream."""
        deadline_at, ends_at, timeout_s, silence_s = call.deadline_at, call.ends_at, self._timeout_s, self._silence_s
        if deadline_at is not None:
            if deadline_at <= now:
                raise call.late("before an attempt")
            if timeout_s is None or deadline_at - now < timeout_s:
                timeout_s = deadline_at - now
        if ends_at is not None and (silence_s is None or ends_at - now <= silence_s):
            silence_s = ends_at - now
        return timeout_s, silence_s

    def _next_wait_s(
        self, call: PendingCall, request: Request, outcome: Outcome, failures: int, turn: Turn | None
    ) -> float | None:
        """Return how long to wait before the next attempt, or None when there is none.

        Because all attempts were made, the wait would be too long, the body cannot be sent again, or the budget is used
        up, in this order. Another target is asked at once; where the last one cools down, that is no retry: it adds
        nothing to the load, and each target does so once.
        """
        retry = self._retry
        if retry is None:
            return None
        passes_on = turn is not None and turn.another()
        if turn is not None:
            turn.unpaid += passes_on and turn.cools_down
            failures -= turn.unpaid
            if passes_on and turn.cools_down:
                return 0.0 if _again(request) else None
        if failures >= retry.attempts:
            return None
        pause_s = 0.0 if passes_on else self._wait_s(outcome, failures, call.left_s(), turn)
        return pause_s if pause_s is not None and _again(request) and _may_retry(call) else None

    def _wait_s(self, outcome: Outcome, failures: int, left_s: float | None, turn: Turn | None) -> float | None:
        """Return how long to wait before the next attempt; None when that is longer than the provider may demand, or
        than the deadline, `left_s` from now, allows.
        """
        assert self._retry is not None
        jittered_s = backoff_s(self._retry, failures, self.clock.chance)
        demanded_s = retry_after_s(outcome.headers, self.clock.wall()) if isinstance(outcome, Response) else None
        if turn is not None:  # another target may be ready before
            demanded_s = turn.ready_in_s() or None
            if demanded_s is not None and not turn.waits:
                return None
        return wait_s(self._retry, jittered_s, demanded_s, left_s)

    def affords(self, call: PendingCall, way: Way) -> bool:
        """Whether a hedge may be made: without waiting for rates or a permit, and as a retry. It then has them."""
        rates, estimated_tok = way.rates or self.rates, _estimated_tok(call.current)
        if way.permits is not None and not way.permits.try_acquire():
            return False
        at_once = self.rates is None or rates is None or rates.reserve(estimated_tok) <= 0
        if at_once and _may_retry(call):
            return True
        if self.rates is not None and rates is not None:
            rates.give_back(estimated_tok)
        if way.permits is not None:
            way.permits.release()
        return False

    def tell(self, call: PendingCall, outcome: Outcome, why: Cause | None) -> None:
        """Tell the hooks of an attempt that was made beside the one that counts."""
        if self.hooks is not None:
            self.hooks.tell(self.hooks.row(call, outcome, why), None)

    def _with_idempotency_key(self, current: ParsedRequest) -> Request:
        """Return the request with an idempotency key that is the same on every attempt."""
        request = current.request
        if not self._tags or current.envelope.tagged:
            return request
        tag = ("idempotency-key", f"tailrace-{self.clock.unique(13).hex()}")
        return Request(
            request.method, request.url, (*request.headers, tag), request.body, None, request.extensions, None,
            request.upload,
        )  # fmt: skip


def _may_retry(call: PendingCall) -> bool:
    return call.retries is None or call.retries.take()


def _answer(call: PendingCall, outcome: Outcome) -> Response[Any]:
    """Return the last answer, or raise what no answer means."""
    if isinstance(outcome, Response):
        return outcome
    left_s, request = call.left_s(), call.current.request
    if left_s is not None and left_s <= 0:
        raise call.late("waiting for the provider") from outcome
    raise call.traced(no_answer(outcome, request, call.sent)) from outcome


def _again(request: Request) -> bool:
    """Whether `request` can be sent once more; a file goes back to its beginning for it."""
    return request.upload is None or request.upload.rewind()


def _hopeful(outcome: Outcome, why: Cause, turn: Turn | None) -> bool:
    """Whether another attempt may succeed, at this target or at another."""
    return retryable(outcome, why) or (turn is not None and turn.hopeful())


def _by_destination(policy: Policy, limits: Limits) -> bool:
    """Whether anything is known of each destination by itself."""
    budgeted = policy.retry is not None and policy.retry.budget is not None
    return bool(policy.targets) or budgeted or limits.breaker is not None or limits.concurrency == "adaptive"


def _estimated_tok(current: ParsedRequest) -> float:
    if current.form is not None:
        return sum(len(value) for _, value in current.form) / 4  # the tokens of a file cannot be told from its bytes
    return len(current.request.body) / 4 + (current.max_output_tok or 0)
