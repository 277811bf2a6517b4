"""The operator's commands. Each may be repeated: what stands already is left as it is, and said so."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tailrace.deploy import Deployment
    from tailrace.profile import Profile

Command = Callable[..., Any]


def on_deployment(command: Command) -> Command:
    """Give a command the options that all of them have."""
    command = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(command)
    return click.option(
        "--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file."
    )(command)


@click.command()
@on_deployment
@click.option(
    "--release", "release_id", default="", metavar="ID", help="One that was deployed before; else the source."
)
def deploy(profile: str, as_json: bool, release_id: str) -> None:
    """Bring up the deployment of a profile, or switch it to another release without losing a request."""
    from tailrace.testbed.stack import Stack

    _ends_like_ctrl_c()
    stack = Stack.open(*_profile(profile))
    deployment = stack.deployment
    release = deployment.releases.find(release_id) if release_id else stack.build(_show_build_line)
    result = deployment.deploy(release, stack.environment(), _observer(as_json))
    now = deployment.status()
    answer = {
        "result": result, "release": release.id, "serving": now.serving, "url": now.url, "generation": now.generation,
        "paused": now.paused,
    }  # fmt: skip
    paused = "; it is paused: requests are held until unpause" if now.paused else ""
    _print(answer, as_json, f"{result}: {now.serving} serves release {release.id} at {now.url}{paused}")


@click.command()
@on_deployment
def status(profile: str, as_json: bool) -> None:
    """Show colours, releases, health, weights, requests in flight, and the last transition."""
    found = _deployment(profile).status()
    said = {
        "its edge is not alive, deploy brings it back": bool(found.url) and not found.edge_alive,
        "paused": found.paused,
        f"stopped half-way at {found.unfinished}": found.unfinished,
        f"under way: {found.under_way}": found.under_way,
        f"damaged: {found.damaged}": found.damaged,
    }
    nobody = "what serves cannot be told" if found.damaged else "nothing serves"
    serves = f"{found.serving} serves at {found.url}" if found.serving else nobody
    lines = [" · ".join([f"{found.name} ({found.engine}): {serves}", *(fact for fact, holds in said.items() if holds)])]
    for slot in found.slots:
        health = " ".join(f"{name} {'yes' if getattr(slot, name) else 'no'}" for name in ("live", "ready", "healthy"))
        lines.append(
            f"  {slot.colour:<5} release {slot.release}  generation {slot.generation}  weight {slot.weight} %  "
            f"in flight {slot.in_flight}  {health}"
        )
    _print(
        found.document(), as_json, "\n".join([*lines, f"  last: {found.last}" if found.last else "  no transition yet"])
    )


@click.command()
@on_deployment
def history(profile: str, as_json: bool) -> None:
    """Show who deployed what, when, why, and how it ended, from the journal."""
    entries = [asdict(entry) for entry in _deployment(profile).history()]
    row = "{when}  {who:<16} {what:<9} {release}  {how} ({duration_s:.1f} s)  {why}"
    lines = [row.format(when=entry["at"][:19], **entry) for entry in entries]
    _print(entries, as_json, "\n".join(lines) or "no transition yet")


def _ends_like_ctrl_c() -> None:
    """Have SIGTERM take back what is under way: a job that is cancelled leaves nothing half-way."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _verb(name: str, about: str, goes: bool = False) -> click.Command:
    """Make the command of a verb that takes nothing but its deployment; one that `goes` tells each state."""

    @click.command(name=name, help=about)
    @on_deployment
    def run(profile: str, as_json: bool) -> None:
        _ends_like_ctrl_c()
        told = {"observe": _observer(as_json)} if goes else {}
        outcome = getattr(_deployment(profile), name)(**told)
        _print(asdict(outcome), as_json, f"{outcome.state}: {outcome.fact}")

    return run


rollback = _verb(
    "rollback", "Go back: take back the switch under way, or switch to the release before (a cold start).", True
)
resume = _verb("resume", "Go on where a controller died.", True)
abort = _verb("abort", "Take back what a dead controller had begun.", True)
promote = _verb("promote", "End the bake, or the weight, of the switch under way now.")
unpause = _verb("unpause", "Let the requests go on that the edge holds.")


@click.command()
@on_deployment
@click.option(
    "--hold-s", default=30.0, show_default=True, type=click.FloatRange(0.1, 3600), help="At most, per request."
)
def pause(profile: str, as_json: bool, hold_s: float) -> None:
    """Have the edge hold new requests for a bounded time, until `unpause`."""
    outcome = _deployment(profile).pause(hold_s)
    _print(asdict(outcome), as_json, f"{outcome.state}: {outcome.fact}")


@click.command(name="upgrade-edge")
@on_deployment
@click.option("--cold", is_flag=True, help="Accept that what is under way is cut, where the edge is a container.")
def upgrade_edge(profile: str, as_json: bool, cold: bool) -> None:
    """Put a new edge in the place of the old one: without a request lost, but for one in a container."""
    outcome = _deployment(profile).upgrade_edge(cold)
    _print(asdict(outcome), as_json, f"{outcome.state}: {outcome.fact}")


@click.command(name="base-image")
@click.option("--again", is_flag=True, help="Make it anew, although there is one.")
def base_image(again: bool) -> None:
    """Make a base image from Debian's packages, where no image registry can be reached."""
    from tailrace.deploy.images import base_image as images
    from tailrace.deploy.images import dockerd
    from tailrace.run.folder import find_project
    from tailrace.testbed import stack

    name = images.ensure(dockerd.connect(), stack.home(find_project(Path.cwd())) / "images", again=again)
    click.echo(f"base image: {name}")


def _profile(name: str) -> tuple[Profile, Path]:
    from tailrace import profile
    from tailrace.run.folder import find_project

    root = find_project(Path.cwd())
    return profile.load(name, root), root


def _deployment(name: str) -> Deployment:
    from tailrace.deploy import Deployment
    from tailrace.testbed import stack

    chosen, root = _profile(name)
    return Deployment.open(chosen, stack.home(root))


def _show_build_line(line: str) -> None:
    """Show a line of the build's log: an image may take a minute."""
    click.echo(f"  building     {line}", err=True)


def _observer(as_json: bool) -> Callable[[str, int, str], None]:
    """Return what tells each state as it is reached; on standard error where standard output is for JSON."""

    def tell(state: str, t_ns: int, fact: str) -> None:
        click.echo(f"  {state:<12} {fact}", err=as_json)

    return tell


def _print(answer: Any, as_json: bool, text: str) -> None:
    import orjson

    click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode() if as_json else text)
