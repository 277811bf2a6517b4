"""What a deployment is: two slots behind one edge, and a folder that knows all about them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Self

from tailrace import credentials
from tailrace.deploy import faults, switch
from tailrace.deploy.edge import Edge, other
from tailrace.deploy.engines import Engine, Instance, Slot, choice
from tailrace.deploy.journal import Event, Journal
from tailrace.deploy.release import Release
from tailrace.deploy.transition import Observe, Switched, Transition
from tailrace.errors import DeployError, Unfinished
from tailrace.host import files, lock
from tailrace.profile import Profile


@dataclasses.dataclass(frozen=True)
class Site:
    """Opened on its folder by whoever comes; what it knows lies in files, so nothing is lost with the opener."""

    profile: Profile
    folder: Path
    engine: Engine
    fault: Callable[[str], None] = files.nothing

    @classmethod
    def open(cls, profile: Profile, home: Path) -> Self:
        """Return the deployment of `profile` in `home`, whether it runs or not; nothing is started."""
        fault = faults.from_environment()
        return cls(profile, home.resolve() / profile.name, choice.create(profile, home.resolve(), fault), fault)

    @property
    def url(self) -> str:
        """Base URL of the front door."""
        return self.edge.url

    @property
    def probe_url(self) -> str:
        """Base URL of a door with the same routes, whose requests are counted apart."""
        return self.edge.layout.probe.url

    @property
    def preview_url(self) -> str:
        """Base URL of the way, through the edge, to the colour that does not serve."""
        return self.edge.preview_url(other(self.edge.routes().serving))

    @property
    def journal(self) -> list[Event]:
        """All that was ever done here, oldest first."""
        return self.record.events()

    @property
    def instances(self) -> list[Instance]:
        """What was started and not stopped, the oldest first."""
        return sorted(self.engine.instances(self.profile.name), key=lambda instance: instance.generation)

    @property
    def serving(self) -> Instance | None:
        """The instance that the routes name, if it runs."""
        colour = self.edge.routes().serving if self.stands else ""
        alive = (i for i in reversed(self.instances) if i.colour == colour and self.engine.alive(i))
        return next(alive, None)

    @property
    def stands(self) -> bool:
        """Whether there is a route file: `up` was called, and `down` was not."""
        return (self.folder / "edge" / "routes.yaml").exists()

    @property
    def busy(self) -> bool:
        """Whether a deploy is under way."""
        return lock.is_held(self.folder / "lock")

    @property
    def under_way(self) -> str:
        """What is under way, and by which process; empty when nothing is."""
        return lock.holder(self.folder / "lock")

    @cached_property
    def edge(self) -> Edge:
        return dataclasses.replace(self.engine.edge(self.profile, self.folder), fault=self.fault)

    @cached_property
    def record(self) -> Journal:
        """The journal, to write to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Journal(self.folder / "journal.jsonl", self.fault)

    @property
    def wishes(self) -> Path:
        """The file in which an operator asks something of the switch under way."""
        return self.folder / "wish"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Names of the variables whose values are handed on to the instances."""
        return (*self.profile.service.secrets, self.profile.provider.api_key_env)

    def release_path(self, id: str) -> Path:
        """Return the file that describes a release which was started here."""
        path = self.folder / "releases" / f"{id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def transition(self, id: str, release: Release, slot: Slot, old: Instance | None) -> Transition:
        """Return a transition of this deployment, with nothing done yet."""
        parts = (self.engine, self.edge, self.record, self.profile)
        return Transition(id, release, slot, old, *parts, wishes=self.wishes)

    def next_generation(self) -> int:
        """Return a generation above every one that was ever intended or written."""
        return max(self.record.generation(), self.edge.routes().generation) + 1

    def go(self, verb: str, release: Release, environment: Mapping[str, str], observe: Observe | None) -> Switched:
        """Begin the transition to `release` and go through it; the lock is held by the caller."""
        old = self.serving
        colour = other(self.edge.routes().serving)
        self._clear(colour)
        generation = self.next_generation()
        slot = Slot(self.profile.name, colour, generation, _harmless(environment), self.secrets)
        t = self.transition(uuid.uuid4().hex[:8], release, slot, old)
        t.observe = observe
        files.write(self.release_path(release.id), json.dumps(release.document(), indent=1) + "\n")
        self.wishes.unlink(missing_ok=True)
        t.begin(verb, generation)
        return switch.run(t)

    def _clear(self, colour: str) -> None:
        """Remove what is left in a slot that gets no traffic, as an instance that died."""
        for instance in self.instances:
            if instance.colour == colour:
                self.engine.stop(instance, self.profile.rollout.stop_grace_s)

    def wiring(self) -> Mapping[str, str]:
        """Return what the last instance was told beside its release."""
        begun = [event for event in self.journal if event.kind == "begin"]
        return begun[-1].data["environment"] if begun else {}

    def refuse_unfinished(self) -> None:
        """Raise Unfinished when a controller died half-way."""
        if left := self.record.unfinished():
            raise Unfinished(
                f"{self.profile.name}: {left[0].fact} stopped half-way at {left[-1].state} ({left[-1].who}, "
                f"{left[-1].at}); go on with resume, or go back with abort"
            )

    def refuse_paused(self) -> None:
        if self.edge.routes().hold_s:
            raise DeployError(f"{self.profile.name} is paused: requests are being held; unpause first")

    @contextlib.contextmanager
    def locked(self, doing: str) -> Iterator[None]:
        """Hold the lock of this deployment; raises Locked at once when somebody else does."""
        with lock.hold(self.folder / "lock", f"{doing} of {self.profile.name}", "wait for it, or look at `status`"):
            yield


def _harmless(environment: Mapping[str, str]) -> Mapping[str, str]:
    """Refuse a credential: wiring is written into the journal."""
    for name, value in environment.items():
        if any(credentials.find(value)):
            raise DeployError(f"{name} holds what looks like a credential; name it under service.secrets instead")
    return dict(environment)
