"""The commands that show a deployment: how it stands, and what happened to it."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tailrace.cli import deployment

if TYPE_CHECKING:
    from tailrace.deploy import SlotStatus, Status


@click.command()
@deployment.options
@click.option("--all", "all_", is_flag=True, help="List every deployment of the project, whatever its profile.")
def status(profile: str, as_json: bool, all_: bool) -> None:
    """Show colours, releases, health, weights, requests in flight, and the last rollout.

    Leaves with 0 when the deployment serves: its doors answered just now. Leaves with 1 when nothing serves, whether it
    is down, hung or damaged. With --all, leaves with 1 when a deployment that is up does not serve, or is unreadable.
    """
    if all_:
        _show_all(as_json)
        return
    now = deployment.opened(profile).status()
    last = f"  last: {now.last}" if now.last else "  no rollout yet"
    deployment.show(now.document(), as_json, "\n".join([_headline(now), *map(_row, now.slots), *_counted(now), last]))
    sys.exit(0 if now.serving else 1)


@click.command()
@deployment.options
def history(profile: str, as_json: bool) -> None:
    """Show who deployed what, when, why, and how it ended, from the journal."""
    entries = [asdict(entry) for entry in deployment.opened(profile).history()]
    row = "{when}  {who:<16} {what:<9} {release}  {how} ({duration_s:.1f} s)  {why}{new}"
    new = [f"  ({'; '.join(entry['changes'])})" if entry["changes"] else "" for entry in entries]
    lines = [row.format(when=entry["at"][:19], new=text, **entry) for entry, text in zip(entries, new, strict=True)]
    deployment.show(entries, as_json, "\n".join(lines) or "no rollout yet")


def _show_all(as_json: bool) -> None:
    from tailrace.deploy import inventory
    from tailrace.run.folder import find_project

    root = find_project(Path.cwd())
    found = inventory.listed(root, root / ".tailrace")
    row = "{name:<20} {state:<15} {serving:<6} {release:<13} {url:<24} since {since:<20} exit {exit_status}  {fact}"
    lines = [row.format(**{**one.document(), "since": one.since[:19] or "?"}).rstrip() for one in found]
    deployment.show([one.document() for one in found], as_json, "\n".join(lines) or "no deployment in this project")
    sys.exit(max((one.exit_status for one in found), default=0))


def _counted(now: Status) -> list[str]:
    """Say how many requests failed since the edge began to count, and of what the edge itself was the cause."""
    if not now.failed:
        return []
    by_edge = "; ".join(f"{count:,} × {how}" for how, count in now.refused.items())
    told = f"  {now.failed:,} of {now.requests:,} requests failed since the edge began to count"
    return [told + (f", by the edge itself: {by_edge}" if by_edge else "")]


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
    nothing = "what serves is unknown" if now.damaged else f"nothing serves{now.answer and f' ({now.answer})'}"
    serving = f"{now.serving} serves at {now.url}" if now.serving else nothing
    return " · ".join([f"{now.name} ({now.engine}): {serving}", *(fact for fact, holds in facts.items() if holds)])


def _row(slot: SlotStatus) -> str:
    health = " ".join(f"{name} {'yes' if getattr(slot, name) else 'no'}" for name in ("live", "ready", "healthy"))
    return (
        f"  {slot.colour:<5} release {slot.release}  generation {slot.generation}  weight {slot.weight} %  "
        f"in flight {slot.in_flight}  {health}" + (f"  {slot.state}" if slot.state != "running" else "")
    )
