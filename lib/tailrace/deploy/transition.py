"""What is known while a deployment goes from one release to another, and how it is written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
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


@dataclass(frozen=True)
class Outcome:
    """What an operator's verb came to: `state` is "done", "rolled back", "asked" or "nothing" (was to be done)."""

    state: str
    fact: str
    states: tuple[State, ...] = ()
    cut: int = 0


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
    committed_ns: int = 0
    """When the route file was last renamed."""
    cut: int = 0
    states: list[State] = field(default_factory=list)
    wishes: Path | None = None
    """The file in which an operator asks something of the switch under way."""

    @property
    def to(self) -> str:
        return self.slot.colour

    def wish(self) -> str:
        """Return what the operator asks: "promote", "rollback", or nothing."""
        return self.wishes.read_text(encoding="utf-8") if self.wishes and self.wishes.exists() else ""

    @property
    def preview_url(self) -> str:
        return self.edge.preview_url(self.to)

    def begin(self, verb: str, generation: int) -> None:
        """Write down what is needed to go on from here, should we die."""
        data = {
            "verb": verb,
            "release": self.release.id,
            "to": self.to,
            "old": self.old.name if self.old else "",
            "previous": self.old.release if self.old else "",
            "generation": generation,
            "environment": dict(self.slot.environment),
        }
        event = self.journal.append(self.id, "begin", "locked", f"{verb} to release {self.release.id}", **data)
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
        self.committed_ns = time.perf_counter_ns()
        if dict(now.weights) == weights:
            return now.generation
        wanted = Routes(now.generation + 1, weights)
        self.intend("routed", generation=wanted.generation, weights=weights)
        self.committed_ns = self.edge.route(wanted)
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
