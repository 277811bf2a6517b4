"""The effects that the policy asks for.

The policy is written once, as generators that yield these and take the results. Two drivers carry them out, one with
`await` and one with threads; neither decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from tailrace.client.response.revealed import Opening
from tailrace.client.response.watch import StreamWatch
from tailrace.client.stores import Entry
from tailrace.client.wire import Request, Response, Unanswered

if TYPE_CHECKING:
    from tailrace.client.call.pending import PendingCall
    from tailrace.client.call.renewal import Renewal

T = TypeVar("T")


class Event(Protocol):
    """An `asyncio.Event` or a `threading.Event`."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...


@dataclass(slots=True)
class Send:
    """Send `request`; gives a Response, or throws `wire.Unanswered`. `hedge` may add a second one."""

    request: Request
    timeout_s: float | None
    silence_s: float | None
    hedge: Hedge | None = None
    opening: Callable[[Response[Any]], Opening | None] | None = None
    """Gives what reads a stream ahead; None for one that is handed on with its first byte."""


class Hedge(Protocol):
    """After `after_s` without an answer, `second()` gives the attempt to make beside the first one (0), or None.

    If there is one: `ended(number, outcome)` says whether the attempt is to be taken at once; at the end
    `over(number)` is told which is taken, None when both were stopped.
    """

    after_s: float

    def second(self) -> Send | None: ...

    def ended(self, number: int, outcome: Response[Any] | Unanswered) -> bool: ...

    def over(self, taken: int | None) -> None: ...


@dataclass(slots=True)
class Sleep:
    seconds: float


@dataclass(slots=True)
class Wait:
    """Wait for `event`; gives whether it was set before `timeout_s`."""

    event: Event
    timeout_s: float | None


@dataclass(slots=True)
class Load:
    """Gives the Entry of `key`, or None; a store that fails counts as a miss."""

    key: str


@dataclass(slots=True)
class Save:
    """Put the entry into the store; a failure of the store is only logged."""

    key: str
    entry: Entry


@dataclass(slots=True)
class Lease:
    """Take the lease of `key` among all processes; gives True also when the store has no leases."""

    key: str
    seconds: float


@dataclass(slots=True)
class Release:
    """Give back the lease of `key`."""

    key: str


@dataclass(slots=True)
class Blocking:
    """Gives what `work()` returns, or throws what it raises; it may block an event loop for too long."""

    work: Callable[[], Any]


@dataclass(slots=True)
class Meter:
    """Gives the stream of `response`, watched while it passes; at its end, `finish(error)` is carried out.

    `late()` is raised when the next chunk has not come by `deadline_at`, `broken(…)` when it has not come after
    `idle_s`, unless `idle_is_late`. `abandoned()` is called when nobody holds the stream any more and nobody closed it.
    """

    response: Response[Any]
    watch: StreamWatch
    finish: Callable[[BaseException | None], Work[None]]
    broken: Callable[[Unanswered], Exception]
    late: Callable[[], Exception]
    abandoned: Callable[[], None]
    idle_s: float | None
    deadline_at: float | None
    idle_is_late: bool = False
    """Whether `idle_s` is the time that was left until a deadline."""
    renewal: Renewal | None = None
    """Asked before each chunk; None when the call holds nothing that expires."""


@dataclass(slots=True)
class Join:
    """Carry out `work` for `call`, or wait for the one under way for `key`; gives (its result or error, whether ours).

    One whose call is over is not waited for, because its answer came before this call began.

    The result is None when it cannot be shared. Throws TimeoutError after `timeout_s`; a shared stream raises
    `late()` after `stream_s`, for this reader alone.
    """

    key: str
    work: Callable[[], Work[Any]]
    call: PendingCall
    timeout_s: float | None
    late: Callable[[], Exception]
    stream_s: float | None = None


@dataclass(slots=True)
class Background:
    """Carry out `work` for `call`, beside the call that has an answer, unless one is under way for `key`."""

    key: str
    work: Callable[[], Work[Any]]
    call: PendingCall


Effect: TypeAlias = Send | Sleep | Wait | Load | Save | Lease | Release | Blocking | Meter | Join | Background
Work: TypeAlias = Generator[Effect, Any, T]
