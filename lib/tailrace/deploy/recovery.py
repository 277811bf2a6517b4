"""Going on after a controller died: forward or back, from what the journal, the route file and the labels say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tailrace.deploy import switch
from tailrace.deploy.edge import Routes, other
from tailrace.deploy.engines import Instance, Slot
from tailrace.deploy.journal import Event
from tailrace.deploy.release import Release
from tailrace.deploy.site import Site
from tailrace.deploy.transition import Observe, Outcome, Transition
from tailrace.errors import DeployError, EdgeRejected


def resume(site: Site, observe: Observe | None = None) -> Outcome:
    """Go on where the controller died; a transition that was being taken back is taken back.

    A damaged route file is written anew from the journal; a damaged journal takes the route file's word.
    """
    mended = _mend_routes(site)
    if site.record.damaged():
        return _confirm(site)
    left = site.record.unfinished()
    if not left:
        return Outcome("done", mended) if mended else Outcome("nothing", "no transition was interrupted")
    t = _rebuilt(site, left, observe)
    going_back = [event for event in left if event.kind == "intent" and event.state == "rolled back"]
    if going_back:
        switch.roll_back(t, going_back[0].data["why"])
        return Outcome("rolled back", t.states[-1][2], tuple(t.states), t.cut)
    reached = {event.state for event in left if event.kind == "reached"}
    _refuse_the_dead(t, reached)
    done = switch.run(t, reached)
    return Outcome("done", done.states[-1][2], done.states, done.cut)


def abort(site: Site, observe: Observe | None = None) -> Outcome:
    """Go back to the old colour; raises DeployError when that has been stopped already."""
    left = site.record.unfinished()
    if not left:
        return Outcome("nothing", "no transition was interrupted")
    t = _rebuilt(site, left, observe)
    if t.old and not t.engine.alive(t.old) and t.edge.routes().weights.get(t.to):
        raise DeployError(f"{t.old.name} is gone, so there is no way back; go on with resume")
    switch.roll_back(t, f"aborted; it had been left at {left[-1].state}")
    return Outcome("rolled back", t.states[-1][2], tuple(t.states), t.cut)


def _rebuilt(site: Site, left: Sequence[Event], observe: Observe | None) -> Transition:
    """Return the transition as the journal has it, with what was started right before the death removed."""
    site.engine.sweep(site.profile.name)
    site.edge.ensure()
    told = left[0].data
    release = Release.read(json.loads(site.release_path(told["release"]).read_text(encoding="utf-8")))
    slot = Slot(site.profile.name, told["to"], told["generation"], told["environment"], site.secrets)
    old = _named(site, told["old"]) or _lost(site, told, slot)
    t = site.transition(left[0].transition, release, slot, old)
    t.new, t.observe = _named(site, slot.name), observe
    t.states = [(e.state, e.t_ns, e.fact) for e in left if e.kind in ("begin", "reached")]
    return t


def _named(site: Site, name: str) -> Instance | None:
    return next((instance for instance in site.instances if instance.name == name), None)


def _lost(site: Site, told: Any, slot: Slot) -> Instance | None:
    """An old instance that is gone by now still is where we came from."""
    if not told["old"]:
        return None
    address = site.edge.layout.admin  # nothing is asked of it any more
    return Instance(slot.deployment, told["old"], other(slot.colour), "", 0, address, "0")


def _refuse_the_dead(t: Transition, reached: set[str]) -> None:
    """Go no further with a new colour that died: what was proved of it is void."""
    if "started" in reached and (t.new is None or t.engine.died(t.new)):
        why = f"{t.slot.name} died while nobody was watching"
        switch.roll_back(t, why)
        error = DeployError(f"{why}; it was taken back")
        error.states, error.cut = tuple(t.states), t.cut
        raise error


def _mend_routes(site: Site) -> str:
    """Write a damaged route file anew, as the journal last intended it; return what was done."""
    try:
        if site.stands:
            site.edge.routes()
        return ""
    except EdgeRejected as error:
        intended = [event for event in site.journal if event.state == "routed"]
        if not intended:
            raise
        generation = site.record.generation() + 1
        wanted = Routes(generation, intended[-1].data["weights"])
        site.record.append("", "note", "mended", str(error), generation=generation, weights=dict(wanted.weights))
        site.edge.route(wanted)
        site.edge.ensure()
        site.edge.await_generation(generation, site.profile.rollout.ack_timeout_s)
        return f"the route file was damaged; it names {wanted.serving} again"


def _confirm(site: Site) -> Outcome:
    """Take the route file's word for what serves, remove the other colour, and write that down."""
    site.edge.ensure()
    serving = site.serving
    if serving is None:
        raise DeployError(f"{site.profile.name}: the colour that the routes name does not run; use down, then up")
    removed = [i for i in site.instances if i != serving]
    for instance in removed:
        site.engine.stop(instance, site.profile.rollout.stop_grace_s)
    site.edge.point(other(serving.colour), None)
    fact = f"the journal was damaged; {serving.name} serves, {len(removed)} other instances removed"
    site.record.append("", "end", "confirmed", fact)
    return Outcome("done", fact)
