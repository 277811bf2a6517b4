"""A deployment: two slots behind one edge, and everything that an operator may do with them."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from tailrace import masking
from tailrace.deploy import (
    bring_up,
    faults,
    front_door,
    history,
    journal,
    pruning,
    recovery,
    release_commands,
    secret_digests,
    status,
    switch,
)
from tailrace.deploy.edge import Counters, Edge, Maintenance, Routes, exposure, other, route_file
from tailrace.deploy.edge import layout as edge_layout
from tailrace.deploy.engines import Engine, Instance, Slot, choice
from tailrace.deploy.journal import Journal
from tailrace.deploy.release import Release
from tailrace.deploy.release_commands import Step
from tailrace.deploy.releases import Releases
from tailrace.deploy.rollout import CommandResult, Deployed, Environment, Observe, Rollout, Switched
from tailrace.errors import DeployError, TailraceError, Unfinished
from tailrace.host import files, lock
from tailrace.masking import Mask
from tailrace.profile import Profile


@dataclasses.dataclass(frozen=True)
class Deployment:
    """Everything that it knows is in the files of its folder: any process may open it, and none is missed when it dies.

    Each command that changes something takes the lock, and may be repeated.
    """

    profile: Profile
    folder: Path
    engine: Engine
    fault: Callable[[str], None] = files.nothing

    @classmethod
    def open(cls, profile: Profile, home: Path) -> Deployment:
        """Return the deployment of `profile` in `home`, whether it runs or not; nothing is started."""
        fault = faults.from_environment()
        return cls(profile, home.resolve() / profile.name, choice.create(profile, home.resolve(), fault), fault)

    @property
    def url(self) -> str:
        """Base URL of the front door."""
        return self.edge.url

    @property
    def probe_url(self) -> str:
        """Base URL of a door with the same routes, whose requests are counted separately."""
        return self.edge.layout.probe.url

    @property
    def instances(self) -> list[Instance]:
        """What was started and not stopped, the oldest first."""
        return sorted(self.engine.instances(self.profile.name), key=lambda instance: instance.generation)

    @property
    def serving(self) -> Instance | None:
        """The instance that the routes name, if it runs."""
        colour = self.edge.routes().serving if self.is_up else ""
        return next((i for i in reversed(self.instances) if i.colour == colour and self.engine.alive(i)), None)

    @property
    def is_up(self) -> bool:
        """Whether there is a route file: `up` was called, and `down` was not."""
        return (self.folder / "edge" / "routes.yaml").exists()

    @property
    def in_progress(self) -> str:
        """The command in progress and the process that runs it; empty when there is none."""
        return lock.holder(self.folder / "lock")

    def next_generation(self) -> int:
        """Return a generation above every one that was ever intended or written."""
        return max(self.journal.generation(), self.edge.routes().generation) + 1

    @property
    def secrets(self) -> dict[str, str]:
        """The variables of an instance that hold secrets: the name there → the name in this process."""
        return self.profile.secrets

    @property
    def edge(self) -> Edge:
        """The edge as its files say: it may have been moved, by this process or by another."""
        return dataclasses.replace(self.engine.edge(self.profile, self.folder), fault=self.fault)

    @cached_property
    def journal(self) -> Journal:
        files.make_folder(self.folder)
        return Journal(self.folder / "journal.jsonl", self.fault, self.mask)

    @cached_property
    def mask(self) -> Mask:
        """What masks the secrets of this deployment in all that is journalled, raised and shown."""
        return Mask.of(masking.known(os.environ, self.profile.secret_names))

    @property
    def layout(self) -> Path:
        """The file that says where the edge listens; it is there from the first start of the edge until `down`."""
        return self.folder / edge_layout.NAME

    @property
    def built(self) -> Path:
        """The folder of what was built for all deployments of this home, and of the files that are kept."""
        return self.folder.parent / "releases"

    @property
    def releases(self) -> Releases:
        """The releases that were deployed here."""
        return Releases(self.folder / "releases", self.profile.service.acceptance)

    def status(self) -> status.Status:
        """Return how everything stands, by asking files, instances and the edge."""
        return status.read(self)

    def counters(self) -> Counters:
        """Return what the edge counted since it started; probes and previews are not among the requests."""
        return self.edge.counters()

    def history(self) -> list[history.HistoryEntry]:
        """Return who deployed what, when, why, and how it ended, oldest first."""
        return history.history(self.journal.entries())

    def abandoned(self) -> list[str]:
        """Return what runs, or was left half-way, although no command is in progress."""
        if self.in_progress:
            return []
        unfinished = self.journal.unfinished()
        return self.running() + ([journal.described(unfinished)] if unfinished else [])

    def build(self, source: Path, on_progress: Callable[[str], None] | None = None) -> Release:
        """Return the release of the project at `source`; `on_progress` gets the build's log. Raises BuildFailed."""
        return secret_digests.sealed(self, self.engine.build(self.profile.configured_service, source, on_progress))

    def deploy(
        self, release: Release, environment: Environment, observe: Observe | None = None, *, force: bool = False
    ) -> Deployed:
        """Have `release` serve, and return how that went. Raises as `switch` does; traffic is then where it was."""
        with self._locked("deploy"), bring_up.all_or_nothing(self):
            return release_commands.deploy(self, release, environment, observe, force)

    def restart(self, observe: Observe | None = None) -> CommandResult:
        """Switch to a new instance of the release that serves."""
        with self._locked("restart"):
            return release_commands.restart(self, observe)

    def up(self, release: Release, environment: Environment | None = None, observe: Observe | None = None) -> None:
        """Have the edge run, and an instance behind it: of `release`, unless one serves already."""
        with self._locked("up"), bring_up.all_or_nothing(self):
            self.ensure_edge(observe)
            if self.serving is None:
                self.roll_out(Step("up", release, environment or {}), observe)

    def switch(
        self, release: Release, *, environment: Environment | None = None, observe: Observe | None = None
    ) -> Switched:
        """Switch to `release` without losing a request; return once the old colour is retired.

        Without `environment`, the new instance gets that of the last one. Raises StartFailed or NotReady (traffic was
        not touched), EdgeRejected or RolledBack (traffic is where it was), Locked, Unfinished.
        """
        with self._locked("switch"):
            if self.serving is None:
                raise DeployError(f"{self.profile.name}: nothing serves yet that could be switched; use `deploy`")
            self.refuse_paused()
            self.ensure_edge(observe)
            given = history.last_environment(self.journal.entries()) if environment is None else environment
            return self.roll_out(Step("switch", release, given), observe)

    def rollback(self, observe: Observe | None = None) -> CommandResult:
        """Roll back the switch in progress; without one, switch to the previous release (a cold start)."""
        if self.in_progress:
            return self._request("rollback")
        with self._locked("rollback"):
            return release_commands.roll_back(self, observe)

    def promote(self) -> CommandResult:
        """End the canary, the present weight or the bake of the switch in progress now."""
        return self._request("promote") if self.in_progress else CommandResult("nothing", "no switch is in progress")

    def resume(self, observe: Observe | None = None) -> CommandResult:
        """Continue where a controller died."""
        with self._locked("resume", refuse_unfinished=False):
            return recovery.resume(self, observe)

    def abort(self, observe: Observe | None = None) -> CommandResult:
        """Roll back what a dead controller had begun."""
        with self._locked("abort", refuse_unfinished=False):
            return recovery.abort(self, observe)

    def pause(self, hold_s: float = 30.0) -> CommandResult:
        """Have the edge hold new requests, each for up to about `hold_s`, until `unpause`."""
        with self._locked("pause"):
            return front_door.pause(self, hold_s)

    def unpause(self) -> CommandResult:
        """Let the requests go on that the edge holds; raises DeployError when the instance is gone."""
        with self._locked("unpause", refuse_unfinished=False):
            return front_door.unpause(self)

    def maintenance_on(self, page: Maintenance) -> CommandResult:
        """Have the edge answer every user with `page` until `maintenance_off`; deploys are allowed meanwhile."""
        with self._locked("maintenance", refuse_unfinished=False):
            return front_door.close(self, page)

    def maintenance_off(self) -> CommandResult:
        """Let the colours answer again; raises DeployError when none could."""
        with self._locked("end of maintenance", refuse_unfinished=False):
            return front_door.reopen(self)

    def upgrade_edge(self, cold: bool = False) -> CommandResult:
        """Replace the edge by a new one; raises EdgeRejected where that would lose requests, unless it is `cold`."""
        with self._locked("upgrade of the edge"):
            return front_door.upgrade(self, cold)

    def down(self) -> list[str]:
        """Stop everything of this deployment, whoever started it, and return what it was; journal and logs stay."""
        with self._locked("down", refuse_unfinished=False):
            return bring_up.take_down(self)

    def running(self) -> list[str]:
        """Return the edge, if it was ever started and runs, and the instances that run."""
        edge = [f"edge at {self.url}"] if self.layout.exists() and self.edge.server.alive() else []
        return edge + [f"{i.name} (release {i.release}) at {i.address}" for i in self.instances if self.engine.alive(i)]

    @contextlib.contextmanager
    def _locked(self, verb: str, refuse_unfinished: bool = True) -> Iterator[None]:
        """Hold the lock; raises Locked when another process has it, Unfinished when a controller died half-way."""
        with lock.hold(self.folder / "lock", f"{verb} of {self.profile.name}", "wait for it, or look at `status`"):
            if refuse_unfinished and (left := self.journal.unfinished()):
                raise Unfinished(
                    f"{self.profile.name}: {left[0].fact} stopped half-way at {left[-1].state} ({left[-1].who}, "
                    f"{left[-1].at}); continue with resume, or go back with abort"
                )
            try:
                yield
            except TailraceError as error:  # it may hold what a service or a provider answered
                error.args = tuple(self.mask.document(error.args))
                raise

    def refuse_paused(self) -> None:
        if self.serving and self.edge.routes().hold_s:
            raise DeployError(f"{self.profile.name} is paused: requests are being held; unpause first")

    def ensure_edge(self, observe: Observe | None = None) -> tuple[str, ...]:
        """Have the edge run by the settings of the profile; return what of them was changed at a running edge."""
        exposure.check(self.profile.edge)
        if not self.is_up:
            # Routes to green, which has no instance yet: so the first instance becomes blue.
            page = front_door.intended_page(self)
            first = Routes(self.journal.generation() + 1, {"green": 100}, maintenance=page)
            files.write(self.edge.folder / "routes.yaml", route_file.document(first))
        return front_door.ensure(self, observe)

    def roll_out(self, step: Step, observe: Observe | None) -> Switched:
        """Start a release in the slot that does not serve, and switch to it; the caller holds the lock."""
        old, colour = self.serving, other(self.edge.routes().serving)
        for instance in self.instances:
            if instance.colour == colour:  # gets no traffic: it died, or was left
                self.engine.stop(instance, self.profile.rollout.stop_grace_s)
        release = secret_digests.sealed(self, step.release)
        names = release.secret_names or {}
        nice = self.profile.rollout.start_nice if old else 0  # where nothing serves, nobody has to be spared
        slot = Slot(self.profile.name, colour, self.next_generation(), step.environment, names, nice)
        rollout = Rollout.of(self, uuid.uuid4().hex[:8], release, slot, old, observe)
        rollout.changes = step.changes
        self.releases.save(release)
        rollout.request_file.unlink(missing_ok=True)
        with rollout.room():
            rollout.begin(step.verb)
            switched = switch.run(rollout)
        pruning.after_rollout(self)
        return switched

    def _request(self, request: str) -> CommandResult:
        files.write(self.folder / "request", request)
        return CommandResult("asked", f"the switch in progress was asked to {request}")
