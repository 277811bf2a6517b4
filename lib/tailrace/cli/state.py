"""The commands that show a deployment: how it stands, and what happened to it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tailrace.cli import deployment

if TYPE_CHECKING:
    from tailrace.deploy import SlotStatus, Status


@click.command()
@deployment.options
def status(profile: str, as_json: bool) -> None:
    """Show colours, releases, health, weights, requests in flight, and the last rollout."""
    now = deployment.opened(profile).status()
    last = f"  last: {now.last}" if now.last else "  no rollout yet"
    deployment.show(now.document(), as_json, "\n".join([_headline(now), *map(_row, now.slots), last]))


@click.command()
@deployment.options
def history(profile: str, as_json: bool) -> None:
    """Show who deployed what, when, why, and how it ended, from the journal."""
    entries = [asdict(entry) for entry in deployment.opened(profile).history()]
    row = "{when}  {who:<16} {what:<9} {release}  {how} ({duration_s:.1f} s)  {why}{new}"
    new = [f"  ({'; '.join(entry['changes'])})" if entry["changes"] else "" for entry in entries]
    lines = [row.format(when=entry["at"][:19], new=text, **entry) for entry, text in zip(entries, new, strict=True)]
    deployment.show(entries, as_json, "\n".join(lines) or "no rollout yet")


def _headline(now: Status) -> str:
    facts = {
        "its edge is not alive, deploy brings it back": bool(now.url) and not now.edge_alive,
        f"maintenance since {now.since or '?'}: users get its page with 503": now.maintenance,
        f"paused since {now.since or '?'}: requests are held": now.paused and not now.maintenance,
        f"canary: {now.canary}": now.canary,
        f"stopped half-way at {now.unfinished}": now.unfinished,
        f"in progress: {now.under_way}": now.under_way,
        f"{'; '.join(now.drift)}: deploy applies it": now.drift,
        f"damaged: {now.damaged}": now.damaged,
    }
    nothing = "what serves is unknown" if now.damaged else "nothing serves"
    serving = f"{now.serving} serves at {now.url}" if now.serving else nothing
    return " · ".join([f"{now.name} ({now.engine}): {serving}", *(fact for fact, holds in facts.items() if holds)])


def _row(slot: SlotStatus) -> str:
    health = " ".join(f"{name} {'yes' if getattr(slot, name) else 'no'}" for name in ("live", "ready", "healthy"))
    return (
        f"  {slot.colour:<5} release {slot.release}  generation {slot.generation}  weight {slot.weight} %  "
        f"in flight {slot.in_flight}  {health}" + (f"  {slot.state}" if slot.state != "running" else "")
    )
