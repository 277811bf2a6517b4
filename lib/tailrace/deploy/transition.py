"""What is known while a deployment goes from one release to another, and how it is written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tailrace.deploy.edge import Counters, Edge, Routes
from tailrace.deploy.engines import Engine, Instance, Slot
from tailrace.deploy.gate import Window
from tailrace.deploy.journal import Journal
from tailrace.deploy.release import Release
from tailrace.profile import Profile

State = tuple[str, int, str]
Observe = Callable[[str, int, str], None]


@dataclass(frozen=True)
class Switched:
    """How a switch went: `states` as (state, t_ns, fact), `cut` the requests that the drain's deadline cut."""

    from_colour: str
    to_colour: str
    release: str
    generation: int
    states: tuple[State, ...]
    cut: int
    duration_s: float


@dataclass
class Transition:
    """One way from the `old` instance, if any, to `release` in `slot`."""

    id: str
    release: Release
    slot: Slot
    old: Instance | None
    engine: Engine
    edge: Edge
    journal: Journal
    profile: Profile
    observe: Observe | None = None
    new: Instance | None = None
    first: Counters | None = None
    """The counters as the transition began: the old colour's time before the switch counts from here."""
    before: Window | None = None
    cut: int = 0
    states: list[State] = field(default_factory=list)
    wish: Callable[[], str] = lambda: ""
    """What an operator asks of the switch under way: "promote", "rollback" or nothing."""

    @property
    def to(self) -> str:
        return self.slot.colour

    @property
    def preview_url(self) -> str:
        return self.edge.preview_url(self.to)

    def begin(self, verb: str, generation: int) -> None:
        """Write down what is needed to go on from here, should we die."""
        event = self.journal.append(
            self.id, "begin", "locked", f"{verb} to release {self.release.id}",
            verb=verb, release=self.release.id, to=self.to, old=self.old.name if self.old else "",
            generation=generation, environment=dict(self.slot.environment),
        )  # fmt: skip
        self.tell("locked", event.t_ns, event.fact)

    def intend(self, state: str, **data: Any) -> None:
        """Write down what is about to be done."""
        self.journal.append(self.id, "intent", state, **data)

    def reached(self, state: str, fact: str) -> None:
        """Write down what was done, and tell who watches."""
        event = self.journal.append(self.id, "reached", state, fact)
        self.tell(state, event.t_ns, fact)

    def end(self, state: str, fact: str) -> None:
        event = self.journal.append(self.id, "end", state, fact)
        self.tell(state, event.t_ns, fact)

    def route(self, weights: dict[str, int]) -> int:
        """Write routes of the next generation, unless the file says the same already; return the generation."""
        now = self.edge.routes()
        if dict(now.weights) == weights:
            return now.generation
        wanted = Routes(max(now.generation, self.journal.generation()) + 1, weights)
        self.intend("routed", generation=wanted.generation, weights=weights)
        self.edge.route(wanted)
        return wanted.generation

    def outcome(self) -> Switched:
        took_s = (self.states[-1][1] - self.states[0][1]) / 1e9
        return Switched(
            self.old.colour if self.old else "", self.to, self.release.id, self.edge.routes().generation,
            tuple(self.states), self.cut, took_s,
        )  # fmt: skip

    def tell(self, state: str, t_ns: int, fact: str) -> None:
        self.states.append((state, t_ns, fact))
        if self.observe:
            self.observe(state, t_ns, fact)
