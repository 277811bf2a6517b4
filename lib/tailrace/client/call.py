"""One call on its way through the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tailrace.client.accounting import Label
from tailrace.client.request.envelope import Envelope
from tailrace.client.request.operation import Operation
from tailrace.client.stores import Entry
from tailrace.client.wire import Request, Response


@dataclass(slots=True)
class Asked:
    """A request, and all that the policy has to know of it. Moments are on the monotonic clock."""

    request: Request
    envelope: Envelope
    operation: Operation
    key: str  # "" when it is neither looked up nor kept
    tenant: str
    started: float
    deadline_at: float | None
    detections: tuple[str, ...]
    old: Entry | None = None
    """What is given when the provider fails."""

    def left_s(self, now: float) -> float | None:
        """Return the seconds until the deadline, or None when there is none."""
        return None if self.deadline_at is None else self.deadline_at - now

    def begun(self, now: float) -> Asked:
        """Return the same once more, begun `now` and without a deadline."""
        return Asked(self.request, self.envelope, self.operation, self.key, self.tenant, now, None, self.detections)


@dataclass(slots=True)
class Fetched:
    """What came of a fetch. `cache` is "coalesced" when another process had done it."""

    response: Response[Any]
    key: str  # under which the answer stands in the store; "" when it does not
    attempts: int
    backoff_s: float
    cost_usd: float | None
    cache: Label


class Trail:
    """What a fetch has done so far, and what it holds and has to give back."""

    sent = 0
    """Attempts, hedges among them."""
    backoff_s = 0.0
    queued_s = 0.0
    reserved_usd = 0.0
    leased = ""
    """The key that all other processes wait for."""
    permit = False
    document: Any = None
    """The JSON of the last answer, when it came whole."""
    malformed = False
    """Whether the last answer is called JSON and is none."""

    def __init__(self, label: Label, asked: Asked) -> None:
        self.label = label
        self.asked = asked  # what was asked last: a fallback's request is another
        self.attempts_s: list[float] = []
