"""One rollout: what is known while a deployment goes from one release to another, and how it is journalled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailrace import credentials
from tailrace.deploy import token_watch
from tailrace.deploy.account import UNTOUCHED, Account, Ledger, Tally
from tailrace.deploy.edge import CanaryRoute, Counters, Edge
from tailrace.deploy.engines import Engine, Instance, Slot
from tailrace.deploy.gate import Window
from tailrace.deploy.journal import Journal
from tailrace.deploy.release import Release
from tailrace.errors import DeployError, EdgeRejected
from tailrace.host import files
from tailrace.host.scrape import MetricsPage
from tailrace.profile import Acceptance, Profile, RolloutSettings
from tailrace.server_metrics import Reading

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

RESERVE = ".reserve"
Environment = Mapping[str, str]
"""Variables that an instance gets beside those of its release, as the URL of its provider."""
State = tuple[str, int, str]
"""The name of a state, when it was reached (`time.perf_counter_ns`), and a fact about it."""
Observe = Callable[[str, int, str], None]
"""Called with each state as it is reached."""


@dataclass(frozen=True)
class Switched:
    """The result of a switch; `cut` counts the requests that were cut at the drain's deadline."""

    from_colour: str
    to_colour: str
    release: str
    generation: int
    states: tuple[State, ...]
    cut: int
    duration_s: float
    account: Account = UNTOUCHED


@dataclass(frozen=True)
class Deployed:
    """The result of `deploy`: `release` serves now; users felt nothing of one that served already."""

    result: Literal["brought up", "switched", "served already"]
    release: str
    account: Account = UNTOUCHED
    changes: tuple[str, ...] = ()
    """What is new in it, in words."""
    fact: str = ""
    """What was changed at the running edge; what was compared where nothing is new."""


@dataclass(frozen=True)
class CommandResult:
    """The result of an operator's command: `state` is "done", "rolled back", "asked" or "nothing" (was to be done)."""

    state: str
    fact: str
    states: tuple[State, ...] = ()
    cut: int = 0
    account: Account = UNTOUCHED


@dataclass
class Rollout:
    """The way from the `old` instance, if there is one, to `release` in `slot`."""

    id: str
    release: Release
    slot: Slot
    old: Instance | None
    engine: Engine
    edge: Edge
    journal: Journal
    profile: Profile
    request_file: Path
    """Holds what an operator requests of the rollout in progress."""
    observe: Observe | None = None
    changes: tuple[str, ...] = ()
    """What is new in the release, in words."""
    old_acceptance: Acceptance = field(default_factory=Acceptance)
    new: Instance | None = None
    counters_at_start: Counters | None = None
    baseline: Window | None = None
    """What the old colour did from the start of the rollout to the commit."""
    tokens_at_start: Reading | None = None
    token_baseline: Reading | None = None
    """What the old colour's own metrics said of tokens in the same time."""
    token_fact: str = ""
    """What the gate judged of the new colour's tokens, and what it could not; empty when the SLO limits none."""
    committed_ns: int = 0
    """When the route file was last renamed."""
    cut: int = 0
    verb: str = ""
    states: list[State] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def of(
        cls,
        deployment: Deployment,
        id: str,
        release: Release,
        slot: Slot,
        old: Instance | None,
        observe: Observe | None,
    ) -> Rollout:
        """Return a rollout of `deployment`, of which nothing is done yet."""
        parts = (deployment.engine, deployment.edge, deployment.journal, deployment.profile)
        rollout = cls(id, release, slot, old, *parts, deployment.folder / "request", observe)
        if old:
            rollout.old_acceptance = deployment.releases.acceptance(old.release)
        return rollout

    @property
    def new_page(self) -> MetricsPage | None:
        """Where the new instance tells its own metrics, as its release says."""
        return token_watch.page(self.release.acceptance, self.new)

    @property
    def old_page(self) -> MetricsPage | None:
        """Where the old one does, as its own release says."""
        return token_watch.page(self.old_acceptance, self.old)

    @property
    def colour(self) -> str:
        """The new colour."""
        return self.slot.colour

    @property
    def settings(self) -> RolloutSettings:
        return self.profile.rollout

    @property
    def preview_url(self) -> str:
        return self.edge.preview_url(self.colour)

    @property
    def account(self) -> Account:
        """What users got since this rollout began; what a `rollback` goes away from may have failed."""
        remedied = self.old.colour if self.old and self.verb == "rollback" else ""
        return self.ledger.settle(self.settings.gate, remedied)

    @property
    def canary(self) -> CanaryRoute | None:
        """Who sees the new colour whatever the weights are, until all do; None without an old colour to compare."""
        wanted = self.settings.canary
        return CanaryRoute(wanted.part, wanted.name, wanted.value, self.colour) if wanted and self.old else None

    @property
    def folder(self) -> Path:
        """The folder of the deployment."""
        return self.request_file.parent

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Keep room for the way back while the context is open; raises OSError where there is none."""
        files.reserve(self.folder / RESERVE)
        try:
            yield
        finally:
            self.give_room()

    def give_room(self) -> bool:
        """Give up the room that was kept for the way back, or for the end; return whether there was any."""
        reserve = self.folder / RESERVE
        kept = reserve.exists()
        reserve.unlink(missing_ok=True)
        return kept

    def operator_request(self) -> str:
        """Return what the operator requests: "promote", "rollback", or nothing."""
        return self.request_file.read_text(encoding="utf-8") if self.request_file.exists() else ""

    def take_request(self, request: str) -> bool:
        """Return whether the operator requests this, and forget it: the next stage is another one."""
        if taken := self.operator_request() == request:
            self.request_file.unlink(missing_ok=True)
        return taken

    def begin(self, verb: str) -> None:
        """Journal everything that is needed to continue from here; raises DeployError when it holds a credential."""
        for name, value in self.slot.environment.items():
            if any(credentials.find(value)):
                raise DeployError(f"{name} holds what looks like a credential; name it under service.secrets instead")
        self.verb = verb
        data = {
            "verb": verb,
            "engine": self.profile.engine,
            "release": self.release.id,
            "to": self.colour,
            "old": self.old.name if self.old else "",
            "previous": self.old.release if self.old else "",
            "generation": self.slot.generation,
            "environment": dict(self.slot.environment),
            "limits": self.profile.limits.model_dump(),
            "changes": list(self.changes),
            **self._count("locked"),
        }
        what = f" ({'; '.join(self.changes)})" if self.changes else ""
        entry = self.journal.append(self.id, "begin", "locked", f"{verb} to release {self.release.id}{what}", **data)
        self._notify("locked", entry.t_ns, entry.fact)

    def intend(self, state: str, **data: Any) -> None:
        """Journal what is about to be done."""
        self.journal.append(self.id, "intent", state, **data)

    def reached(self, state: str, fact: str) -> None:
        """Journal what was done and what the edge has counted by now, and notify the observer."""
        entry = self.journal.append(self.id, "reached", state, fact, **self._count(state))
        self._notify(state, entry.t_ns, entry.fact)

    def end(self, state: str, *facts: str) -> None:
        """Journal how the rollout ended, with what users got of it, and notify the observer."""
        counted = self._count(state)
        fact = "; ".join(filter(None, (facts[0], self.account.text, *facts[1:])))
        entry = self.journal.append(self.id, "end", state, fact, **counted)
        self._notify(state, entry.t_ns, entry.fact)

    def route(self, weights: dict[str, int], canary: CanaryRoute | None = None) -> int:
        """Write routes of the next generation, unless the file has these already; return the generation.

        A maintenance page stays: whether users are let in is the operator's to say.
        """
        current = self.edge.routes()
        self.committed_ns = time.perf_counter_ns()
        if (dict(current.weights), current.canary) == (weights, canary):
            return current.generation
        routes = replace(current, generation=current.generation + 1, weights=weights, canary=canary)
        self.intend("routed", generation=routes.generation, weights=weights)
        self.committed_ns = self.edge.route(routes)
        return routes.generation

    def result(self) -> Switched:
        duration_s = (self.states[-1][1] - self.states[0][1]) / 1e9
        return Switched(
            self.old.colour if self.old else "", self.colour, self.release.id, self.edge.routes().generation,
            tuple(self.states), self.cut, duration_s, self.account,
        )  # fmt: skip

    def _count(self, state: str) -> dict[str, Any]:
        """Read the edge's counters for the account, and return them for the journal; nothing when it is silent."""
        try:
            tally = Tally.of(state, self.edge.counters())
        except EdgeRejected:
            return {}
        self.ledger.tallies.append(tally)
        return {"counted": tally.document()}

    def _notify(self, state: str, t_ns: int, fact: str) -> None:
        self.states.append((state, t_ns, fact))
        if self.observe:
            self.observe(state, t_ns, fact)
