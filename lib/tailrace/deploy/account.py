"""What users got while a rollout was under way: counted at the edge, from state to state, by who made each failure.

A rollout reads the edge's counters at each state that it reaches. What lies between two tallies is a stretch. Nothing
that the edge failed is left out, whichever colour it was for, and whatever the rollout ended in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from tailrace.deploy.edge import Counters, counters
from tailrace.profile import GateLimits

EDGE = "the edge"
TOLD = 4
"""Stretches that a sentence names; the others are summed."""


@dataclass(frozen=True)
class Tally:
    """What the edge had counted when a rollout reached `state`, small enough for a line of the journal."""

    state: str
    t_ns: int
    uptime_s: int
    edge: int
    probes: int
    requests: int
    sent: Mapping[str, int]
    """Requests by colour that they were sent to."""
    by_edge: Mapping[str, int]
    """Failures that the edge made, by how and of which colour."""
    by_instance: Mapping[str, int]
    """Answers with 5xx that instances gave, by colour."""

    @classmethod
    def of(cls, state: str, counted: Counters) -> Tally:
        sent = {name: colour.total for name, colour in counted.colours.items()}
        return cls(
            state, counted.t_ns, counted.uptime_s, counted.edge, counted.probes, counted.requests, sent,
            counted.refused, counted.by_instance,
        )  # fmt: skip

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Stretch:
    """What happened between two states."""

    begun: str
    ended: str
    seconds: float
    requests: int
    sent: Mapping[str, int]
    by_edge: Mapping[str, int]
    by_instance: Mapping[str, int]
    restarted: bool = False
    """The edge was started anew in between: what it had counted until then is lost."""

    @classmethod
    def between(cls, earlier: Tally, later: Tally, restarted: bool) -> Stretch:
        def counted(name: str) -> dict[str, int]:
            return counters.since(getattr(later, name), {} if restarted else getattr(earlier, name))

        return cls(
            earlier.state, later.state, round((later.t_ns - earlier.t_ns) / 1e9, 3),
            later.requests - (0 if restarted else earlier.requests),
            counted("sent"),
            counted("by_edge"),
            counted("by_instance"), restarted,
        )  # fmt: skip

    @property
    def refused(self) -> int:
        return sum(self.by_edge.values())

    @property
    def failed(self) -> int:
        return self.refused + sum(self.by_instance.values())

    @property
    def text(self) -> str:
        """Say how many failed, who made them, and between which states."""
        edge = [f"{n:,} × {how}" for how, n in sorted(self.by_edge.items(), key=lambda made: -made[1])]
        makers = [f"by {EDGE} ({'; '.join(edge)})"] if edge else []
        makers += [f"{n:,} × 5xx by {colour}" for colour, n in self.by_instance.items()]
        return f"{self.failed:,} of {self.requests:,} between {self.begun} and {self.ended}, {' and '.join(makers)}"


@dataclass(frozen=True)
class Account:
    """The stretches of a rollout; `felt` says why it was no success for its users, "" when it was."""

    stretches: tuple[Stretch, ...] = ()
    felt: str = ""

    @property
    def requests(self) -> int:
        return sum(stretch.requests for stretch in self.stretches)

    @property
    def refused(self) -> int:
        """Failures that the edge made: nobody else's counters hold them."""
        return sum(stretch.refused for stretch in self.stretches)

    @property
    def failed(self) -> int:
        """All failures: the edge's, and the answers of instances with 5xx."""
        return sum(stretch.failed for stretch in self.stretches)

    @property
    def text(self) -> str:
        """Say how many requests there were, how many failed, and where; one sentence, whatever the numbers."""
        if not self.failed:
            return f"{self.requests:,} requests, 0 failed"
        hit = [stretch for stretch in self.stretches if stretch.failed]
        rest = sum(stretch.failed for stretch in hit[TOLD:])
        told = [stretch.text for stretch in hit[:TOLD]] + ([f"{rest:,} later"] if rest else [])
        return f"{self.failed:,} of {self.requests:,} requests failed: {'; '.join(told)}"

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        numbers = {"requests": self.requests, "failed": self.failed, "refused": self.refused, "felt": self.felt}
        return {**numbers, "stretches": [asdict(stretch) for stretch in self.stretches]}


UNTOUCHED = Account()
"""That of a command during which nothing was rolled out."""


@dataclass
class Ledger:
    """The readings of one rollout, in their order."""

    tallies: list[Tally] = field(default_factory=list)

    def settle(self, limits: GateLimits, remedied: str = "") -> Account:
        """Return the account of what was read; failures of the instance of colour `remedied` do not decide."""
        stretches = tuple(Stretch.between(a, b, counters.began_anew(a, b)) for a, b in pairwise(self.tallies))
        return Account(stretches, felt(stretches, limits, remedied))


def felt(stretches: Sequence[Stretch], limits: GateLimits, remedied: str = "") -> str:
    """Return why this was no success for its users; empty when it was.

    One failure that the edge made is enough. Answers of an instance with 5xx are the service's own: in no stretch may
    a colour that got `min_requests` have more of them than the gate's `max_error_rate`.
    """
    if refused := sum(stretch.refused for stretch in stretches):
        return f"users got {refused:,} failure{'s' * (refused != 1)} that the edge made"
    for stretch in stretches:
        for colour, count in stretch.by_instance.items():
            sent = stretch.sent.get(colour, 0)
            if colour != remedied and sent >= limits.min_requests and count > limits.max_error_rate * sent:
                where = f"between {stretch.begun} and {stretch.ended}"
                return f"{colour} failed {count:,} of its {sent:,} requests {where}; limit {limits.max_error_rate:.1%}"
    for stretch in stretches:
        if stretch.restarted:
            where = f"between {stretch.begun} and {stretch.ended}"
            return f"the edge was started anew {where}, and nobody counted whom it failed until then"
    return ""
