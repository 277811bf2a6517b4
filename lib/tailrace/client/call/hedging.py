"""Hedges: a second attempt beside one that is slow, and what is told of the two.

The second one goes to another target, where the policy has one that is ready. An error, also one under a status of
success, is taken only when the other attempt is over, too. Breaker, target and hooks hear of both; of one that was
stopped nobody knows how it would have ended.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from tailrace.client.call import answers
from tailrace.client.call.balancing import Option, Turn
from tailrace.client.call.causes import Cause, cause
from tailrace.client.call.effects import Send
from tailrace.client.call.pending import PendingCall
from tailrace.client.call.retry import Outcome, health
from tailrace.client.limiters.breaker import CircuitBreaker
from tailrace.client.limiters.concurrency import Permits
from tailrace.client.limiters.rate import Rates
from tailrace.client.request.parsed import ParsedRequest
from tailrace.client.wire import Request

if TYPE_CHECKING:
    from tailrace.client.call.attempts import Attempts


class Way(NamedTuple):
    """Where an attempt goes, and what it holds there."""

    request: Request
    current: ParsedRequest
    target: str
    rates: Rates | None
    breaker: CircuitBreaker | None
    permits: Permits | None
    began: float
    option: Option | None = None
    """The target, where it is another one than the first attempt's."""


class _End(NamedTuple):
    """How an attempt ended."""

    outcome: Outcome
    why: Cause | None
    malformed: bool
    at: float


class Race:
    """An attempt of `call`, and the one beside it if it is slow. `won` is the way of the one that is taken."""

    def __init__(self, attempts: Attempts, call: PendingCall, first: Way, turn: Turn | None, after_s: float) -> None:
        self.after_s = after_s
        self.won = first
        self._attempts = attempts
        self._call = call
        self._turn = turn
        self._ways = [first]
        self._ends: dict[int, _End] = {}

    def second(self) -> Send | None:
        """Return the second attempt; None when breaker, rates, permits or the retry budget allow none, or the deadline.

        What it takes is given back in `over`.
        """
        call, attempts, now = self._call, self._attempts, self._attempts.clock.monotonic()
        if call.deadline_at is not None and call.deadline_at <= now:
            return None
        way = self._way(now)
        if way.breaker is not None and way.breaker.admit() > 0:
            return None
        if not attempts.affords(call, way):
            if way.breaker is not None:
                way.breaker.withdraw()
            return None
        if self._turn is not None and way.option is not None:
            self._turn.goes_to(way.option)
        self._ways.append(way)
        call.sent += 1
        timeout_s, silence_s = attempts.time_s(call, now)
        opening = partial(answers.opening, call) if call.current.known else None
        return Send(way.request, timeout_s, silence_s, None, opening)

    def ended(self, number: int, outcome: Outcome) -> bool:
        """Note the outcome of an attempt, 0 or 1; return whether it is good, so that the other is not waited for."""
        call = self._call
        read = answers.read(call, outcome) if call.current.known else outcome
        why = cause(read, call.malformed)
        self._ends[number] = _End(read, why, call.malformed, self._attempts.clock.monotonic())
        return why is None

    def over(self, taken: int | None) -> None:
        """Tell of the attempt that is not taken, and give back what it held.

        Without a taken one the caller left: of an attempt that had failed by then all is told as well.
        """
        lost = 1 - taken if taken is not None else 1
        self._on(self._ways[lost])
        self._tell(self._ways[lost], self._ends.get(lost))
        self.won = self._ways[1 - lost]
        self._on(self.won)
        self._call.permits = self.won.permits
        if taken is None and (failed := self._ends.get(0)) is not None:
            self._tell(self.won, failed)
            self.won, self._call.permits = self.won._replace(breaker=None, permits=None), None
        elif self._turn is not None and self.won.option is not None:
            self._turn.took(self.won.option)

    def _way(self, now: float) -> Way:
        """Return where the second attempt goes: to another target that is ready, else where the first went."""
        option = self._turn.beside() if self._turn is not None else None
        if option is None or self._turn is None:
            return self._ways[0]._replace(began=now)
        destination = option.destination
        destination.used_at = now
        return Way(
            self._turn.request_to(option), option.current, option.target.label, self._turn.rates_of(option),
            destination.breaker, destination.permits or self._attempts.permits, now, option,
        )  # fmt: skip

    def _on(self, way: Way) -> None:
        call = self._call
        call.current, call.target, call.rates = way.current, way.target, way.rates

    def _tell(self, way: Way, end: _End | None) -> None:
        """Give back what an attempt held that is not taken, and tell what is known of it."""
        if end is None:
            if way.breaker is not None:
                way.breaker.withdraw()
            if way.permits is not None:
                way.permits.release()
            return
        failed, overloaded = health(end.outcome)
        if way.breaker is not None:
            way.breaker.report(True if end.malformed else failed)
        if way.permits is not None:
            way.permits.release(overloaded)
        if self._turn is not None:
            self._turn.lost(way.option, end.outcome, end.why)
        self._call.attempts_s.append(end.at - way.began)
        self._attempts.tell(self._call, end.outcome, end.why)


def must_go_once(current: ParsedRequest) -> bool:
    """Whether a second copy of the request would do something twice, such as a turn of a conversation or an upload.

    Two copies of an upload would also read the same file at once.
    """
    upload = current.request.upload is not None or current.form is not None
    return upload or (current.known and current.has_side_effect)
