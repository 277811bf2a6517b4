"""The commands that take a deployment from one release to another, or back. Each may be repeated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tailrace.cli import deployment, terminal

if TYPE_CHECKING:
    from tailrace.profile import Profile


@click.command()
@deployment.options
@click.option("--release", "id", default="", metavar="ID", help="One that was deployed before; else the source.")
@click.option("--force", is_flag=True, help="Deploy the same content once more, as another edition of its release.")
def deploy(profile: str, as_json: bool, id: str, force: bool) -> None:
    """Bring up the deployment of a profile, or switch it to another release without losing a request."""
    deployment.end_like_ctrl_c()
    chosen, root = deployment.load(profile)
    with deployment.leaks_said(chosen, root):
        _deploy(chosen, root, as_json, id, force)


def _deploy(chosen: Profile, root: Path, as_json: bool, id: str, force: bool) -> None:
    from tailrace.runner import parameters
    from tailrace.testbed.stack import Stack

    parameters.check_profile(root, chosen)
    for note in chosen.notes:
        terminal.say(f"  note         {note}", err=True)
    stack = Stack.open(chosen, root)
    release = stack.deployment.releases.find(id) if id else stack.build(_show_build_line)
    observe = deployment.observer(as_json)
    deployed = stack.deployment.deploy(release, stack.environment(), observe, force=force)
    now = stack.deployment.status()
    answer = {
        "result": deployed.result, "release": deployed.release, "serving": now.serving, "url": now.url,
        "generation": now.generation, "paused": now.paused, "maintenance": now.maintenance,
        "changes": deployed.changes, "fact": deployed.fact, **deployed.account.document(),
    }  # fmt: skip
    paused = "it is paused: requests are held until unpause" if now.paused else ""
    closed = "users get the maintenance page until `maintenance off`" if now.maintenance else ""
    serves = f"{now.serving} serves release {deployed.release} at {now.url}"
    changes = f" ({'; '.join(deployed.changes)})" if deployed.changes else ""
    text = f"{deployed.result}: {'; '.join(filter(None, (serves + changes, deployed.fact, paused, closed)))}"
    deployment.show(answer, as_json, text)
    deployment.leave(deployed.account, f", although {now.serving} serves release {deployed.release}")


@click.command()
@deployment.options
def restart(profile: str, as_json: bool) -> None:
    """Switch to a new instance of the release that serves, without losing a request; it gets the secrets of today."""
    deployment.end_like_ctrl_c()
    deployment.show_outcome(deployment.opened(profile).restart(deployment.observer(as_json)), as_json)


@click.command()
@deployment.options
def rollback(profile: str, as_json: bool) -> None:
    """Roll back the switch in progress; without one, switch to the previous release (a cold start)."""
    deployment.end_like_ctrl_c()
    deployment.show_outcome(deployment.opened(profile).rollback(deployment.observer(as_json)), as_json)


@click.command()
@deployment.options
def resume(profile: str, as_json: bool) -> None:
    """Continue where a controller died."""
    deployment.end_like_ctrl_c()
    deployment.show_outcome(deployment.opened(profile).resume(deployment.observer(as_json)), as_json)


@click.command()
@deployment.options
def abort(profile: str, as_json: bool) -> None:
    """Roll back what a dead controller had begun."""
    deployment.end_like_ctrl_c()
    deployment.show_outcome(deployment.opened(profile).abort(deployment.observer(as_json)), as_json)


@click.command()
@deployment.options
def promote(profile: str, as_json: bool) -> None:
    """End the canary, the weight or the bake of the switch in progress now."""
    deployment.show_outcome(deployment.opened(profile).promote(), as_json)


def _show_build_line(line: str) -> None:
    """Show a line of the build's log: an image may take a minute."""
    terminal.say(f"  building     {line}", err=True)
