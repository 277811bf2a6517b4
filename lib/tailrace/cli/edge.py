"""The commands on the edge of a deployment."""

from __future__ import annotations

from pathlib import Path

import click

from tailrace.cli import deployment


@click.command()
@deployment.options
@click.option(
    "--hold-s", default=30.0, show_default=True, type=click.FloatRange(0.1, 3600), help="At most, per request."
)
def pause(profile: str, as_json: bool, hold_s: float) -> None:
    """Have the edge hold new requests for a bounded time, until `unpause`."""
    deployment.show_outcome(deployment.opened(profile).pause(hold_s), as_json)


@click.command()
@deployment.options
def unpause(profile: str, as_json: bool) -> None:
    """Let the requests go on that the edge holds."""
    deployment.show_outcome(deployment.opened(profile).unpause(), as_json)


@click.command()
@click.argument("switch", type=click.Choice(["on", "off"]))
@deployment.options
@click.option("--page", type=click.Path(path_type=Path), help="A file: .html, .txt or .json; else one sentence.")
@click.option("--retry-after", type=click.IntRange(1, 86_400), metavar="S", help="Seconds, for callers. [default: 60]")
def maintenance(switch: str, profile: str, as_json: bool, page: Path | None, retry_after: int | None) -> None:
    """Have the edge answer every user with a page and status 503, until `maintenance off`."""
    from tailrace.deploy import front_door
    from tailrace.deploy.edge import Maintenance

    if switch == "on":
        shown = Maintenance.of(retry_after or front_door.RETRY_AFTER_S, page)
        outcome = deployment.opened(profile).maintenance_on(shown)
    elif page or retry_after:
        raise click.UsageError("--page and --retry-after belong to `maintenance on`")
    else:
        outcome = deployment.opened(profile).maintenance_off()
    deployment.show_outcome(outcome, as_json)


@click.command(name="upgrade-edge")
@deployment.options
@click.option("--cold", is_flag=True, help="Accept that what is in flight is cut, where the edge is a container.")
def upgrade_edge(profile: str, as_json: bool, cold: bool) -> None:
    """Replace the edge by a new one: without losing a request, except where it is a container."""
    deployment.show_outcome(deployment.opened(profile).upgrade_edge(cold), as_json)
