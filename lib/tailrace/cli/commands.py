"""The command line: arguments only. What a command does is imported when it is called."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tailrace import __version__
from tailrace.errors import TailraceError

if TYPE_CHECKING:
    from rich.console import Console

_OPERATING = "tailrace.cli.operate"
ELSEWHERE = {
    "abort": (_OPERATING, "Take back what a dead controller had begun."),
    "base-image": (_OPERATING, "Make a base image from Debian's packages, where no registry can be reached."),
    "deploy": (_OPERATING, "Bring up a deployment, or switch it to another release."),
    "history": (_OPERATING, "Show who deployed what, when, why, and how it ended."),
    "load": ("tailrace.cli.load.command", "Send traffic to an API on a schedule, and measure it."),
    "pause": (_OPERATING, "Have the edge hold new requests for a bounded time."),
    "promote": (_OPERATING, "End the bake, or the weight, of the switch under way now."),
    "resume": (_OPERATING, "Go on where a controller died."),
    "rollback": (_OPERATING, "Go back to the release before."),
    "serve": ("tailrace.service.command", "Run the service: an OpenAI-compatible endpoint through the client."),
    "simulate": ("tailrace.simulator.command", "Run an OpenAI-compatible provider that is simulated."),
    "status": (_OPERATING, "Show how a deployment stands."),
    "unpause": (_OPERATING, "Let the requests go on that the edge holds."),
    "upgrade-edge": (_OPERATING, "Put a new edge in the place of the old one."),
}
"""Commands that live in their own rooms: an image of the service lacks the others."""


class Commands(click.Group):
    """Shows one line per error, and leaves with the status that the error has."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(importlib.import_module(ELSEWHERE[cmd_name][0]), cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing those that live elsewhere."""
        own = {name: command.get_short_help_str(limit=90) for name, command in self.commands.items()}
        rows = {**own, **{name: text for name, (_, text) in ELSEWHERE.items()}}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(rows.items()))

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except TailraceError as error:
            for line in str(error).splitlines():
                click.echo(f"tailrace: {line}", err=True)
            sys.exit(error.exit_code)


FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
tolerance = click.option(
    "--tolerance", default=0.2, show_default=True, type=click.FloatRange(min=0),
    help="How much slower than the baseline is accepted, as a share.",
)  # fmt: skip


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """A runbook that executes: ships an LLM service blue-green, and proves it with tail-latency percentiles."""


@main.command()
@click.option("--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file.")
@click.option("--param", "params", multiple=True, metavar="STEP.NAME=VALUE", help="Set a notebook's parameter.")
@click.option("--only", multiple=True, metavar="STEP", help="Run this step only. May be repeated.")
@click.option("--baseline", metavar="RUN", type=FOLDER, help="Fail when p99 is beyond that of RUN, a folder in runs/.")
@tolerance
def run(profile: str, params: tuple[str, ...], only: tuple[str, ...], baseline: Path | None, tolerance: float) -> None:
    """Run the runbook.

    \b
    Exit status: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 could not run (bad profile, missing part, another run),
    130 or 143 when Ctrl-C or SIGTERM ended it: after everything that it started was ended, too.
    """
    from tailrace import runner
    from tailrace.run.folder import find_project

    root = find_project(Path.cwd())
    overrides = tuple(map(runner.Override.parse, params))
    request = runner.Request(root, profile, overrides, only, baseline, tolerance)
    record = runner.run(request, runner.Display(_console()))
    page = root / "runs" / "latest" / "report.html"
    click.echo(f"report: {_near(page)}" if page.exists() else "report: none was written; see runs/latest/run.json")
    sys.exit(record.exit_code)


@main.command()
@click.argument("run", type=FOLDER)
def report(run: Path) -> None:
    """Draw figures, tables and the page of RUN (a folder in runs/) again from its records."""
    from tailrace.report import page
    from tailrace.run.folder import RunDir

    click.echo(f"report: {_near(page.write(RunDir.of(run).path))}")


@main.command()
@click.argument("run_a", type=FOLDER)
@click.argument("run_b", type=FOLDER)
@tolerance
@click.option("--on", default="", metavar="STEP/records:PHASE", help="What is compared; without it, the switch.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(run_a: Path, run_b: Path, tolerance: float, on: str, as_json: bool) -> None:
    """Say whether RUN_B is slower than RUN_A (folders in runs/), by paired windows of time.

    \b
    Exit status: 0 PASS, p99 is no slower than tolerated; 1 FAIL, it is; 2 INCONCLUSIVE.
    """
    from tailrace.report import baseline
    from tailrace.run.folder import EXIT_CODES, RunDir

    before, after = RunDir.of(run_a), RunDir.of(run_b)
    compared = baseline.against(after.path, before.path, tolerance, on)
    if as_json:
        said = {"a": before.id, "b": after.id, "tolerance": tolerance, **baseline.document(compared)}
        click.echo(json.dumps(said, indent=2, ensure_ascii=False))
    else:
        click.echo(f"a  {before.id}\nb  {after.id}\n\n{baseline.text(compared)}")
    sys.exit(EXIT_CODES[compared.judgement.verdict])


@main.command()
@click.option("--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file.")
def down(profile: str) -> None:
    """Stop what a run of the profile left running."""
    from tailrace import runner
    from tailrace.run.folder import find_project

    for line in runner.down(find_project(Path.cwd()), profile) or [f"{profile}: nothing was running"]:
        click.echo(line)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"tailrace {__version__}")


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def _near(path: Path) -> str:
    """Return `path` as seen from here, when it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == "__main__":
    main()
