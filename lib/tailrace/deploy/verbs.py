"""What an operator may say to a deployment, beside up, switch and down; each is safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailrace.deploy import files, hold
from tailrace.deploy.edge import documents
from tailrace.deploy.journal import Event
from tailrace.deploy.release import Release
from tailrace.deploy.transition import Outcome
from tailrace.errors import DeployError

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment


@dataclass(frozen=True)
class Entry:
    """One line of the history."""

    at: str
    who: str
    what: str
    release: str
    how: str
    """How it ended: "done", "rolled back", "down", …; "unfinished" when it did not."""
    why: str
    duration_s: float


def rollback(deployment: Deployment) -> Outcome:
    """Ask the switch under way to go back, take back one that was left, or switch to the release before."""
    if deployment.busy:
        return _wish(deployment, "rollback")
    with deployment.locked("rollback"):
        begun = _done(deployment.journal)
        deployment.refuse_unfinished()
        if not begun or not begun[-1].data["previous"]:
            return Outcome("nothing", "there is no release before this one")
        if begun[-1].data["verb"] == "rollback":
            return Outcome("nothing", f"rolled back to release {begun[-1].data['release']} already")
        path = deployment.release_path(begun[-1].data["previous"])
        release = Release.read(json.loads(path.read_text(encoding="utf-8")))
        went = deployment.go("rollback", release, deployment.wiring(), None)
        return Outcome("done", f"release {went.release} serves again, from a cold start", went.states, went.cut)


def promote(deployment: Deployment) -> Outcome:
    """Ask the switch under way to bake no longer."""
    return _wish(deployment, "promote") if deployment.busy else Outcome("nothing", "no switch is under way")


def pause(deployment: Deployment, hold_s: float) -> Outcome:
    """Hold new requests at the edge; raises DeployError when nothing serves."""
    serving = deployment.serving
    if serving is None:
        raise DeployError(f"{deployment.profile.name}: nothing serves, so there is nothing to pause")
    if deployment.edge.routes().hold_s:
        return Outcome("nothing", "paused already")
    generation = deployment.next_generation()
    fact = f"{serving.name} gets no new requests; each is held for up to about {hold_s:g} s"
    deployment.record.append("", "note", "paused", fact, generation=generation)
    hold.pause(deployment.edge, generation, serving.address, hold_s, deployment.profile.rollout.ack_timeout_s)
    return Outcome("done", fact)


def unpause(deployment: Deployment) -> Outcome:
    """Let the held requests go on; raises DeployError when the instance is gone."""
    if not deployment.stands or not deployment.edge.routes().hold_s:
        return Outcome("nothing", "not paused")
    serving = deployment.serving
    if serving is None:
        raise DeployError(f"{deployment.profile.name}: the instance died while paused; use down, then up")
    generation = deployment.next_generation()
    deployment.record.append("", "note", "unpaused", serving.name, generation=generation)
    hold.unpause(deployment.edge, generation, serving.address, deployment.profile.rollout.ack_timeout_s)
    return Outcome("done", f"{serving.name} gets requests again")


def upgrade_edge(deployment: Deployment) -> Outcome:
    """Write the bootstrap anew and have a new process take over, which counts anew; raises EdgeRejected."""
    edge = deployment.edge
    files.write(edge.folder / "bootstrap.yaml", documents.bootstrap(edge.layout))
    epoch = edge.replace(deployment.profile.rollout.ack_timeout_s)
    fact = f"process number {epoch} took over"
    deployment.record.append("", "note", "edge upgraded", fact)
    return Outcome("done", fact)


def history(events: Sequence[Event]) -> list[Entry]:
    """Return one entry per transition, oldest first."""
    entries = []
    for begin in (event for event in events if event.kind == "begin"):
        ends = [event for event in events if event.transition == begin.transition and event.kind == "end"]
        how, why, t_ns = (ends[-1].state, ends[-1].fact, ends[-1].t_ns) if ends else ("unfinished", "", begin.t_ns)
        release, took_s = begin.data["release"], (t_ns - begin.t_ns) / 1e9
        entries.append(Entry(begin.at, begin.who, begin.data["verb"], release, how, why, round(took_s, 3)))
    return entries


def _wish(deployment: Deployment, wish: str) -> Outcome:
    files.write(deployment.wishes, wish)
    return Outcome("asked", f"the switch under way was asked to {wish}")


def _done(events: Sequence[Event]) -> list[Event]:
    done = {event.transition for event in events if event.kind == "end" and event.state == "done"}
    return [event for event in events if event.kind == "begin" and event.transition in done]
