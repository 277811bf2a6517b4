"""One call under a policy, from its request to its row in the accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tailrace.client.accounting import Label
from tailrace.client.clock import Clock
from tailrace.client.errors import CircuitOpen, ConnectionFailed, DeadlineExceeded, Own, TimedOut
from tailrace.client.limiters.budget import RetryBudget
from tailrace.client.limiters.concurrency import Permits
from tailrace.client.limiters.rate import Rates
from tailrace.client.request.parsed import ParsedRequest
from tailrace.client.stores import Entry
from tailrace.client.stores.budgets import Reservation
from tailrace.client.wire import Response

if TYPE_CHECKING:
    from tailrace.client.call.renewal import Renewal

SKEW_S: Final = 5.0
"""How far the clocks of machines that share a store may differ."""
_TICK_S: Final = 0.001
"""A wait may end this much before its moment."""
Error = TypeVar("Error", bound=CircuitOpen | ConnectionFailed | DeadlineExceeded | TimedOut)


@dataclass(slots=True, eq=False)
class PendingCall:
    """A call under way: what it asks for, what it has done so far, and what it holds and must give back.

    Moments are on the monotonic clock.
    """

    original: ParsedRequest
    current: ParsedRequest
    """The request that is sent now: the original, or a fallback in its place."""
    clock: Clock
    tenant: str
    started: float
    deadline_at: float | None = None
    """When the answer must have begun; a plain one must be whole by then."""
    ends_at: float | None = None
    """When its stream must be over."""
    detections: tuple[str, ...] = ()
    cache: Label = "miss"
    stale_entry: Entry | None = None
    """An expired answer, given when the provider fails."""

    over: bool = False
    """Whether its answer has come and is not stored: a call that begins now asks for itself."""
    fetching: bool = False
    """Whether its own fetch has begun, which then accounts for the call."""
    sent: int = 0
    """Attempts made, hedges included."""
    attempts_s: list[float] = field(default_factory=list)
    backoff_s: float = 0.0
    queued_s: float = 0.0
    document: Any = None
    """The JSON of the last answer, when all of it came."""
    malformed: bool = False
    """Whether the last answer should be JSON and is not."""

    target: str = ""
    """The label of the target of the last attempt; "" for none."""
    rates: Rates | None = None
    """The rates of that target; None: those of the policy."""
    retries: RetryBudget | None = None
    """Pays for its retries; None when they have no limit."""
    permits: Permits | None = None
    """Where this call holds a permit; None when it holds none."""
    reservation: Reservation | None = None
    """What it has reserved of the budget, until it settles."""
    renewal: Renewal | None = None
    """Keeps the reservation alive, when it expires in a store."""
    lease: str = ""
    """The key whose lease this call holds; "" when it holds none."""

    def restarted(self) -> PendingCall:
        """Return a new call for the same request, which starts now and has no deadline."""
        return PendingCall(
            original=self.original, current=self.original, clock=self.clock, tenant=self.tenant,
            started=self.clock.monotonic(), detections=self.detections,
        )  # fmt: skip

    def elapsed_s(self) -> float:
        """Return the seconds since the call started."""
        return self.clock.monotonic() - self.started

    def left_s(self) -> float | None:
        """Return the seconds until the deadline, or None when there is none."""
        return None if self.deadline_at is None else self.deadline_at - self.clock.monotonic()

    def stream_left_s(self) -> float | None:
        """Return the seconds until its stream must be over, or None when that has no limit."""
        return None if self.ends_at is None else self.ends_at - self.clock.monotonic()

    def age_s(self, entry: Entry) -> float:
        """Return the age of `entry`; infinity when the caller accepts no answer that old, or the clock went back.

        An answer that was stored since the call started is young enough for every caller who reads from the cache.
        """
        age, wishes = self.clock.wall() - entry.stored_at, self.original.envelope.wishes
        if age < -SKEW_S or not wishes.lookup:
            return inf
        if wishes.max_age_s is not None and age > wishes.max_age_s + self.elapsed_s():
            return inf
        return max(0.0, age)

    def release_permit(self, overloaded: bool | None = None) -> None:
        """Give the permit back, if the call holds one, with what its attempt says about the provider."""
        permits, self.permits = self.permits, None
        if permits is not None:
            permits.release(overloaded)

    def late(self, step: str, waited_for: Own = "", free_in_s: float | None = None) -> DeadlineExceeded:
        """Return the error for a deadline that passed, or cannot be met, at `step`; see `DeadlineExceeded`."""
        over = self.ends_at is not None and self.clock.monotonic() + _TICK_S >= self.ends_at
        limit_s = ((self.ends_at if over else self.deadline_at) or self.started) - self.started
        message = f"the deadline of {limit_s:.3f} s cannot be met: {step}, {self.elapsed_s():.3f} s after the start"
        error = DeadlineExceeded(message, self.current.request)
        error.waited_for, error.retry_after_s = waited_for, free_in_s
        return self.traced(error)

    def traced(self, error: Error) -> Error:
        """Return `error` with the number of attempts and the time that the call took."""
        error.after(self.sent, self.elapsed_s())
        return error


@dataclass(slots=True)
class FetchResult:
    """The answer that a fetch brought, for the call that made it and for those that waited for it."""

    response: Response[Any]
    cache: Label
    """The label of the call; "coalesced" when another process made the request."""
    key: str = ""
    """The key under which the answer is stored; "" when it is not."""
    attempts: int = 0
    backoff_s: float = 0.0
    cost_usd: float | None = 0.0
    failure: str = ""
    """The class of the failure that the answer is."""
