"""What a deployment does: bring up, switch, and all that an operator may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tailrace.deploy import recovery, status, teardown, verbs
from tailrace.deploy.edge import Counters
from tailrace.deploy.edge.documents import Routes, routes
from tailrace.deploy.release import Release
from tailrace.deploy.site import Site
from tailrace.deploy.transition import Observe, Outcome, Switched
from tailrace.errors import DeployError
from tailrace.host import files


class Deployment(Site):
    """A site, and what is done to it. Each act takes the lock; each is safe to repeat."""

    def build(self, source: Path, on_progress: Callable[[str], None] | None = None) -> Release:
        """Return the release of the profile's service from the project at `source`; raises BuildFailed.

        `on_progress` gets the lines of the build's log while it runs.
        """
        return self.engine.build(self.profile.service, source, on_progress)

    def up(
        self, release: Release, environment: Mapping[str, str] | None = None, observe: Observe | None = None
    ) -> None:
        """Have the edge run, and something serve behind it: `release`, unless an instance serves already."""
        with self.locked("up"):
            self.refuse_unfinished()
            if not self.stands:
                # To green, which has no instance yet: so the first one becomes blue.
                first = Routes(self.record.generation() + 1, {"green": 100})
                files.write(self.edge.folder / "routes.yaml", routes(first))
            self.edge.ensure()
            if self.serving is None:
                self.go("up", release, environment or {}, observe)

    def switch(
        self, release: Release, *, environment: Mapping[str, str] | None = None, observe: Observe | None = None
    ) -> Switched:
        """Switch to `release` without losing a request; returns when the old colour is retired.

        `environment` is the new instance's wiring; None keeps what the last one was told. Raises StartFailed or
        NotReady (traffic was not touched), EdgeRejected or RolledBack (traffic is where it was), Locked, Unfinished.
        """
        with self.locked("switch"):
            self.refuse_unfinished()
            if not self.stands or self.serving is None:
                raise DeployError(f"{self.profile.name}: nothing serves yet, so there is nothing to switch; use up")
            self.refuse_paused()
            self.edge.ensure()
            return self.go("switch", release, self.wiring() if environment is None else environment, observe)

    def status(self) -> status.Status:
        """Return how everything stands, by asking it."""
        return status.take(self)

    def counters(self) -> Counters:
        """Return what the edge counted since it started; probes and previews are not among the requests."""
        return self.edge.counters()

    def down(self) -> list[str]:
        """Stop all that was started, whoever started it, and return what it was; the journal and the logs stay."""
        with self.locked("down"):
            return teardown.down(self)

    def abandoned(self) -> list[str]:
        """Return what runs, or was left half-way, although nobody holds the lock; empty while somebody does."""
        return [] if self.busy else teardown.left(self)

    def rollback(self, observe: Observe | None = None) -> Outcome:
        """Take the switch under way back; or, when there is none, switch to the release before (a cold start)."""
        return verbs.rollback(self, observe)

    def promote(self) -> Outcome:
        """End the bake, or the weight, of the switch under way now."""
        return verbs.promote(self)

    def pause(self, hold_s: float = 30.0) -> Outcome:
        """Have the edge hold new requests, each for up to about `hold_s`, until `unpause`."""
        with self.locked("pause"):
            self.refuse_unfinished()
            return verbs.pause(self, hold_s)

    def unpause(self) -> Outcome:
        """Let the held requests go on."""
        with self.locked("unpause"):
            return verbs.unpause(self)

    def resume(self, observe: Observe | None = None) -> Outcome:
        """Go on where a controller died."""
        with self.locked("resume"):
            return recovery.resume(self, observe)

    def abort(self, observe: Observe | None = None) -> Outcome:
        """Take back what a dead controller had begun."""
        with self.locked("abort"):
            return recovery.abort(self, observe)

    def upgrade_edge(self, cold: bool = False) -> Outcome:
        """Put a new edge, with a new bootstrap, in the place of the old one: without a request lost, or `cold`."""
        with self.locked("upgrade of the edge"):
            self.refuse_unfinished()
            return verbs.upgrade_edge(self, cold)

    def history(self) -> list[verbs.Entry]:
        """Return who went from what to what, when, why, and how it ended, oldest first."""
        return verbs.history(self.journal)
