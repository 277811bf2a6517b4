"""Taking a deployment down, and finding what a dead controller left: by records and marks, never by name."""

from __future__ import annotations

import shutil

from tailrace.deploy.site import Site


def down(site: Site) -> list[str]:
    """Stop edge and instances and remove their files; return what was stopped. Nothing left is no error."""
    stopped = []
    if (site.folder / "layout.json").exists():
        if site.edge.runs.alive():
            stopped.append(f"edge at {site.url}")
        site.edge.runs.stop()
    for instance in site.instances:
        if site.engine.alive(instance):
            stopped.append(f"{instance.name} (release {instance.release}) at {instance.address}")
        site.engine.stop(instance, site.profile.rollout.stop_grace_s)
    stopped += site.engine.sweep(site.profile.name) + site.engine.clear(site.profile.name)
    if left := site.record.unfinished():
        site.record.append(left[0].transition, "end", "down", f"was left at {left[-1].state}")
        stopped.append(f"transition {left[0].transition}, left at {left[-1].state}")
    elif stopped:
        site.record.append("", "note", "down", "; ".join(stopped))
    shutil.rmtree(site.folder / "edge", ignore_errors=True)
    (site.folder / "layout.json").unlink(missing_ok=True)
    site.__dict__.pop("edge", None)  # its ports are free for others now
    return stopped


def left(site: Site) -> list[str]:
    """Return what runs or was left half-way."""
    found = [f"{i.name} at {i.address}" for i in site.instances if site.engine.alive(i)]
    if (site.folder / "layout.json").exists() and site.edge.runs.alive():
        found.append(f"edge at {site.url}")
    if events := site.record.unfinished():
        found.append(f"transition {events[0].transition}, left at {events[-1].state}")
    return found
