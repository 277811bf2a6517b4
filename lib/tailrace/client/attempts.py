"""Ask until there is an answer: budget → retry { breaker → permit → attempt timeout → send → classify }.

The permit is released during backoff. When the next wait would pass the deadline, the call fails now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import openai

from tailrace.client import fallback
from tailrace.client.call import Asked, Trail
from tailrace.client.clock import Clock
from tailrace.client.effects import Event, Hedge, Send, Sleep, Wait, Work
from tailrace.client.errors import CircuitOpen, ConnectionFailed, DeadlineExceeded, TimedOut
from tailrace.client.limiters.breaker import Circuit
from tailrace.client.limiters.budget import Budget
from tailrace.client.limiters.concurrency import Permits
from tailrace.client.limiters.rate import Rate
from tailrace.client.policy import Limits, Policy
from tailrace.client.retry import Verdict, backoff_s, classify, parsed, retry_after_s
from tailrace.client.usage import Usage
from tailrace.client.wire import Request, Response, Unanswered

Outcome: TypeAlias = Response[Any] | Unanswered
Error = TypeVar("Error", CircuitOpen, ConnectionFailed, TimedOut, DeadlineExceeded)
LookUp: TypeAlias = Callable[[Asked, Trail], Work[Response[Any] | None]]


class Attempts:
    """The retry sequence of one policy, and all that its attempts share."""

    def __init__(self, policy: Policy, clock: Clock, event: Callable[[], Event], look_up: LookUp) -> None:
        self._policy = policy
        self._limits = limits = policy.limits or Limits(breaker=None)
        fallback.check(policy)
        self.carried_out: Callable[[Asked, Trail], Work[Response[Any]]]
        """Gives the first good answer of the provider and its fallbacks; `Trail.asked` is what it was given to."""
        self.carried_out = self._chosen if policy.fallbacks else self._retried
        self._clock = clock
        self._event = event
        self._look_up = look_up
        retry = policy.retry
        has_budget = retry is not None and retry.budget is not None
        self._budget = Budget(retry.budget or 0.0, retry.budget_burst) if has_budget and retry else None
        self._circuits: dict[str, Circuit] = {}
        fixed = None if limits.concurrency == "adaptive" else limits.concurrency
        self.permits = Permits(fixed) if limits.concurrency is not None else None
        now = clock.monotonic
        self._requests = Rate(limits.requests_per_min, now) if limits.requests_per_min else None
        self._tokens = Rate(limits.tokens_per_min, now) if limits.tokens_per_min else None

    def _chosen(self, asked: Asked, trail: Trail) -> Work[Response[Any]]:
        choices = fallback.choices(asked, self._policy)
        for index, choice in enumerate(choices):
            trail.asked, last = choice, index == len(choices) - 1
            if index and choice.key:
                found = yield from self._look_up(choice, trail)
                if found is not None:
                    return found
            try:
                response = yield from self._retried(choice, trail)
            except DeadlineExceeded:
                raise
            except openai.APIConnectionError:
                if last:
                    raise
                continue
            verdict = classify(response, trail.malformed)
            # a request that is wrong is wrong; a fallback that has no such model or key is one to go on from
            if last or verdict is Verdict.DONE or (verdict is Verdict.REFUSED and not index):
                return response
        raise AssertionError("there is always a last choice")

    def used(self, asked: Asked, usage: Usage) -> None:
        """Correct the estimate of tokens by what was used."""
        if self._tokens is not None and usage.known:
            self._tokens.give_back(_estimated_tok(asked) - usage.in_tok - usage.out_tok)

    def _retried(self, asked: Asked, trail: Trail) -> Work[Response[Any]]:
        retry, failures = self._policy.retry, 0
        request = self._tagged(asked)
        if self._budget is not None:
            self._budget.earn()
        while True:
            outcome = yield from self._attempt(asked, request, trail)
            verdict = classify(outcome, trail.malformed)
            failures += 1
            if verdict is not Verdict.RETRY or retry is None or failures >= retry.attempts:
                return self._ended(asked, trail, outcome)
            wait = self._wait_s(outcome, failures)
            left = asked.left_s(self._clock.monotonic())
            if wait is None or (left is not None and wait >= left) or not self._may_retry():
                return self._ended(asked, trail, outcome)
            trail.backoff_s += wait
            yield Sleep(wait)

    def _attempt(self, asked: Asked, request: Request, trail: Trail) -> Work[Outcome]:
        """Make one attempt, as soon as breaker, rates and permits let it."""
        circuit = self._circuits.get(asked.envelope.origin) or self._circuit(asked.envelope.origin)
        if circuit is not None and (shut_s := circuit.admit()) > 0:
            raise self._failed(
                CircuitOpen(f"not asked: too many calls failed just now; the next is let through in {shut_s:.1f} s",
                            asked.request), asked, trail)  # fmt: skip
        outcome: Outcome | None = None
        try:
            if self._requests is not None or self._tokens is not None:
                yield from self._paced(asked, trail)
            if self.permits is not None:
                if not self.permits.try_acquire():
                    yield from self._queued(asked, trail, self.permits)
                trail.permit = True
            began = self._clock.monotonic()
            timeout_s = self._timeout_s(asked, trail, began)
            trail.sent += 1
            try:
                hedge_s = self._limits.hedge_after_s
                outcome = yield Send(request, timeout_s, None if hedge_s is None else self._hedge(hedge_s, trail))
            except Unanswered as error:
                outcome = error.with_traceback(None)  # it holds this frame, and with it a stream that comes later
            trail.attempts_s.append(self._clock.monotonic() - began)
            if asked.operation.known:
                trail.document, trail.malformed = parsed(outcome)
        finally:
            self._over(circuit, outcome, trail)
        return outcome

    def _over(self, circuit: Circuit | None, outcome: Outcome | None, trail: Trail) -> None:
        """Tell breaker and permits how an attempt went, and give its permit back; a stream holds it to its end.

        An attempt that was stopped, or given up before it was made (None), says nothing about anybody.
        """
        if outcome is None:
            if circuit is not None:
                circuit.withdraw()
            self.release(trail)
            return
        failed, overloaded = _health(outcome)
        if circuit is not None:
            circuit.tell(True if trail.malformed else failed)
        if self.permits is None:
            return
        if isinstance(outcome, Response) and not isinstance(outcome.body, bytes):
            self.permits.tell(overloaded)
        else:
            trail.permit = False
            self.permits.release(overloaded)

    def release(self, trail: Trail) -> None:
        """Give the permit back, once."""
        if trail.permit and self.permits is not None:
            trail.permit = False
            self.permits.release()

    def _queued(self, asked: Asked, trail: Trail, permits: Permits) -> Work[None]:
        """Wait for a permit, until the deadline at most."""
        began, event = self._clock.monotonic(), self._event()
        if not permits.acquire(event):
            came = False
            try:
                came = yield Wait(event, asked.left_s(began))
            finally:
                if not came:
                    permits.withdraw(event)
            if not came:
                raise self.late(asked, trail, "waiting for a permit")
        trail.queued_s += self._clock.monotonic() - began

    def _paced(self, asked: Asked, trail: Trail) -> Work[None]:
        """Wait for the rates; fail at once when that would pass the deadline."""
        began = self._clock.monotonic()
        taken = [(rate, n) for rate, n in ((self._requests, 1.0), (self._tokens, _estimated_tok(asked))) if rate]
        wait = max((rate.reserve(amount) for rate, amount in taken), default=0.0)
        left = asked.left_s(began)
        if left is not None and wait >= left:
            for rate, amount in taken:
                rate.give_back(amount)
            raise self.late(asked, trail, f"the rate limit asks to wait {wait:.1f} s")
        if wait > 0:
            yield Sleep(wait)
            trail.queued_s += self._clock.monotonic() - began

    def _timeout_s(self, asked: Asked, trail: Trail, now: float) -> float | None:
        until, most = asked.deadline_at, self._limits.attempt_timeout_s
        if until is None:
            return most
        if until <= now:
            raise self.late(asked, trail, "before an attempt")
        return until - now if most is None or until - now < most else most

    def _wait_s(self, outcome: Outcome, failures: int) -> float | None:
        """Return how long to wait before the next attempt, or None when the provider asks for too long."""
        retry = self._policy.retry
        assert retry is not None
        jittered = backoff_s(retry, failures, self._clock.chance)
        told = retry_after_s(outcome.headers, self._clock.wall()) if isinstance(outcome, Response) else None
        if told is None:
            return jittered
        # a little jitter on top: all who were told the same moment must not come back at that moment
        return None if told > retry.max_retry_after_s else told + min(jittered, 0.1 * told + 0.05)

    def _may_retry(self) -> bool:
        return self._budget is None or self._budget.take()

    def _hedge(self, after_s: float, trail: Trail) -> Hedge:
        release = self.permits.release if self.permits is not None else _nothing

        def admit() -> bool:
            if self.permits is not None and not self.permits.try_acquire():
                return False
            if not self._may_retry():
                release()
                return False
            trail.sent += 1
            return True

        return Hedge(after_s, admit, release)

    def _circuit(self, origin: str) -> Circuit | None:
        if self._limits.breaker is None:
            return None
        return self._circuits.setdefault(origin, Circuit(self._limits.breaker, self._clock.monotonic))

    def _tagged(self, asked: Asked) -> Request:
        """Return the request with an idempotency key that is the same on every attempt."""
        retry = self._policy.retry
        if retry is None or not retry.idempotency_key or asked.envelope.tagged:
            return asked.request
        plain = asked.request
        tag = f"tailrace-{self._clock.unique(13).hex()}"
        return Request(
            plain.method, plain.url, (*plain.headers, ("idempotency-key", tag)), plain.body, None, plain.extensions
        )

    def _ended(self, asked: Asked, trail: Trail, outcome: Outcome) -> Response[Any]:
        """Return the last answer, or raise what no answer means."""
        if isinstance(outcome, Response):
            return outcome
        left = asked.left_s(self._clock.monotonic())
        if left is not None and left <= 0:
            raise self.late(asked, trail, "waiting for the provider") from outcome
        attempts = f"{trail.sent} attempt{'s' * (trail.sent != 1)}"
        if outcome.kind == "timeout":
            raise self._failed(TimedOut(f"no answer in time, {attempts}", asked.request), asked, trail) from outcome
        cause = type(outcome.__cause__).__name__ if outcome.__cause__ else str(outcome)
        raise self._failed(
            ConnectionFailed(f"no answer: {cause}, {attempts}", asked.request), asked, trail
        ) from outcome

    def late(self, asked: Asked, trail: Trail, where: str) -> DeadlineExceeded:
        elapsed = self._clock.monotonic() - asked.started
        text = f"the deadline of {(asked.deadline_at or 0) - asked.started:.3f} s does not hold: {where}"
        return self._failed(DeadlineExceeded(f"{text}, {elapsed:.3f} s after the start", asked.request), asked, trail)

    def _failed(self, error: Error, asked: Asked, trail: Trail) -> Error:
        error.after(trail.sent, self._clock.monotonic() - asked.started)
        return error


def _health(outcome: Outcome) -> tuple[bool | None, bool]:
    """Return whether the outcome shows a broken provider (None: says nothing), and whether an overloaded one."""
    if isinstance(outcome, Unanswered):
        return True, outcome.kind == "timeout"
    if outcome.status == 429:
        return None, True
    return outcome.status >= 500, outcome.status >= 500


def _estimated_tok(asked: Asked) -> float:
    return len(asked.request.body) / 4 + (asked.operation.max_output_tok or 0)


def _nothing() -> None:
    pass
