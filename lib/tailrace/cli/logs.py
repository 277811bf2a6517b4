"""The command that shows what an instance, the edge or the provider has written."""

from __future__ import annotations

import click

from tailrace.cli import deployment, terminal


@click.command()
@click.option("--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file.")
@click.option("--colour", type=click.Choice(["blue", "green"]), help="An instance; else the one that serves.")
@click.option("--edge", "part", flag_value="edge", help="The edge.")
@click.option("--provider", "part", flag_value="provider", help="The simulated provider.")
@click.option("--lines", "-n", default=100, show_default=True, type=click.IntRange(0, 100_000), help="The last ones.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written, until it ends or Ctrl-C.")
@click.option("--previous", "-p", is_flag=True, help="The instance that was started before it.")
def logs(profile: str, colour: str | None, part: str | None, lines: int, follow: bool, previous: bool) -> None:
    """Show the log of an instance, also across its restarts and rotations, of the edge, or of the provider."""
    from tailrace.deploy import logs

    if part and (colour or previous):
        raise click.UsageError(f"--{part} names one log; --colour and --previous choose among those of instances")
    opened = deployment.opened(profile)
    name = logs.name(opened, logs.Wanted(part or "", colour or "", previous))
    terminal.say(f"{name}: {opened.engine.log_path(opened.profile.name, name)}", err=True)
    try:
        for line in logs.lines(opened.engine.output(opened.profile.name, name, lines, follow)):
            terminal.say(line)
    except KeyboardInterrupt:
        return
