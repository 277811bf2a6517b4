"""What an operator may say to a deployment, beside up, switch and down; each is safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tailrace.deploy import hold
from tailrace.deploy.edge import documents
from tailrace.deploy.journal import Event
from tailrace.deploy.release import Release
from tailrace.deploy.site import Site
from tailrace.deploy.transition import Observe, Outcome
from tailrace.errors import DeployError, EdgeRejected
from tailrace.host import files


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


def rollback(site: Site, observe: Observe | None = None) -> Outcome:
    """Ask the switch under way to go back, take back one that was left, or switch to the release before."""
    if site.busy:
        return _wish(site, "rollback")
    with site.locked("rollback"):
        begun = _done(site.journal)
        site.refuse_unfinished()
        if not begun or not begun[-1].data["previous"]:
            return Outcome("nothing", "there is no release before this one")
        if begun[-1].data["verb"] == "rollback":
            return Outcome("nothing", f"rolled back to release {begun[-1].data['release']} already")
        path = site.release_path(begun[-1].data["previous"])
        release = Release.read(json.loads(path.read_text(encoding="utf-8")))
        went = site.go("rollback", release, site.wiring(), observe)
        return Outcome("done", f"release {went.release} serves again, from a cold start", went.states, went.cut)


def promote(site: Site) -> Outcome:
    """Ask the switch under way to bake no longer."""
    return _wish(site, "promote") if site.busy else Outcome("nothing", "no switch is under way")


def pause(site: Site, hold_s: float) -> Outcome:
    """Hold new requests at the edge; raises DeployError when nothing serves."""
    serving = site.serving
    if serving is None:
        raise DeployError(f"{site.profile.name}: nothing serves, so there is nothing to pause")
    if site.edge.routes().hold_s:
        return Outcome("nothing", "paused already")
    generation = site.next_generation()
    fact = f"{serving.name} gets no new requests; each is held for up to about {hold_s:g} s"
    site.record.append("", "note", "paused", fact, generation=generation)
    hold.pause(site.edge, generation, serving.address, hold_s, site.profile.rollout.ack_timeout_s)
    return Outcome("done", fact)


def unpause(site: Site) -> Outcome:
    """Let the held requests go on; raises DeployError when the instance is gone."""
    if not site.stands or not site.edge.routes().hold_s:
        return Outcome("nothing", "not paused")
    serving = site.serving
    if serving is None:
        raise DeployError(f"{site.profile.name}: the instance died while paused; use down, then up")
    generation = site.next_generation()
    site.record.append("", "note", "unpaused", serving.name, generation=generation)
    hold.unpause(site.edge, generation, serving.address, site.profile.rollout.ack_timeout_s)
    return Outcome("done", f"{serving.name} gets requests again")


def upgrade_edge(site: Site, cold: bool) -> Outcome:
    """Write the bootstrap anew and put a new edge in the place of the old one, which counts anew.

    Raises EdgeRejected where that would lose requests and nobody has said, by `cold`, that it may.
    """
    edge = site.edge
    if not site.stands:
        raise DeployError(f"{site.profile.name}: nothing stands, so there is no edge to upgrade; use deploy")
    if not (edge.runs.hands_over or cold):
        raise EdgeRejected(
            f"{site.profile.name}: an edge in a container cannot hand its connections on: what is under way would be "
            "cut, and nothing answered for a moment. See runbook/procedures/edge-upgrade.md, then say --cold"
        )
    files.write(edge.folder / "bootstrap.yaml", documents.bootstrap(edge.layout))
    fact = edge.replace(site.profile.rollout.ack_timeout_s)
    site.record.append("", "note", "edge upgraded", fact)
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


def _wish(site: Site, wish: str) -> Outcome:
    files.write(site.wishes, wish)
    return Outcome("asked", f"the switch under way was asked to {wish}")


def _done(events: Sequence[Event]) -> list[Event]:
    done = {event.transition for event in events if event.kind == "end" and event.state == "done"}
    return [event for event in events if event.kind == "begin" and event.transition in done]
