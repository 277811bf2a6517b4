"""Taking a deployment down, and finding what a dead controller left: by records and marks, never by name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment


def down(deployment: Deployment) -> list[str]:
    """Stop edge and instances and remove their files; return what was stopped. Nothing left is no error."""
    stopped = []
    if (deployment.folder / "layout.json").exists():
        if deployment.edge.runs.alive():
            stopped.append(f"edge at {deployment.url}")
        deployment.edge.runs.stop()
    for instance in deployment.instances:
        if deployment.engine.alive(instance):
            stopped.append(f"{instance.name} (release {instance.release}) at {instance.address}")
        deployment.engine.stop(instance, deployment.profile.rollout.stop_grace_s)
    stopped += deployment.engine.sweep(deployment.profile.name)
    if left := deployment.record.unfinished():
        deployment.record.append(left[0].transition, "end", "down", f"was left at {left[-1].state}")
        stopped.append(f"transition {left[0].transition}, left at {left[-1].state}")
    elif stopped:
        deployment.record.append("", "note", "down", "; ".join(stopped))
    shutil.rmtree(deployment.folder / "edge", ignore_errors=True)
    (deployment.folder / "layout.json").unlink(missing_ok=True)
    deployment.__dict__.pop("edge", None)  # its ports are free for others now
    return stopped


def left(deployment: Deployment) -> list[str]:
    """Return what runs or was left half-way."""
    found = [f"{i.name} at {i.address}" for i in deployment.instances if deployment.engine.alive(i)]
    if (deployment.folder / "layout.json").exists() and deployment.edge.runs.alive():
        found.append(f"edge at {deployment.url}")
    if events := deployment.record.unfinished():
        found.append(f"transition {events[0].transition}, left at {events[-1].state}")
    return found
