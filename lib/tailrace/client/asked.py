"""One call on its way through the policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tailrace.client.operation import Operation, Wishes
from tailrace.client.wire import Request, Response


class Asked(NamedTuple):
    """A request, and all that the policy has to know of it. Moments are on the monotonic clock."""

    request: Request
    operation: Operation
    wishes: Wishes
    key: str  # "" when it is neither looked up nor kept
    tenant: str
    started: float
    deadline_at: float | None
    detections: tuple[str, ...]

    def left_s(self, now: float) -> float | None:
        """Return the seconds until the deadline, or None when there is none."""
        return None if self.deadline_at is None else self.deadline_at - now


class Fetched(NamedTuple):
    """What came of a fetch. `cache` is "coalesced" when another process had done it."""

    response: Response[Any]
    attempts: int
    backoff_s: float
    cost_usd: float | None
    cache: str


@dataclass(slots=True)
class Trail:
    """What a fetch has done so far, and what it holds and has to give back."""

    label: str
    sent: int = 0  # attempts, hedges among them
    backoff_s: float = 0.0
    queued_s: float = 0.0
    reserved_usd: float = 0.0
    leased: str = ""  # the key that all other processes wait for
    permit: bool = False
    attempts_s: list[float] = field(default_factory=list)
    document: Any = None
    """The JSON of the last answer, when it came whole."""
    malformed: bool = False
    """Whether the last answer is called JSON and is none."""
