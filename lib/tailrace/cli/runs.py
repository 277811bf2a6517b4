"""The commands that make runs, report on them, and clean up after them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tailrace.cli import terminal

if TYPE_CHECKING:
    from tailrace.runner.run import RunOptions

BENCHMARK: Final = "06_benchmark"
"""The step that measures a grid."""
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
tolerance = click.option(
    "--tolerance", default=0.2, show_default=True, type=click.FloatRange(min=0),
    help="How much slower than the baseline is accepted, as a share.",
)  # fmt: skip


@click.command()
@click.option("--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file.")
@click.option("--param", "params", multiple=True, metavar="STEP.NAME=VALUE", help="Set a notebook's parameter.")
@click.option("--only", multiple=True, metavar="STEP", help="Run this step only. May be repeated.")
@click.option("--baseline", metavar="RUN", type=FOLDER, help="Fail when p99 is beyond that of RUN, a folder in runs/.")
@tolerance
def run(profile: str, params: tuple[str, ...], only: tuple[str, ...], baseline: Path | None, tolerance: float) -> None:
    """Run the runbook.

    \b
    Exit status: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 could not run (bad profile, missing part, another run),
    130 or 143 when Ctrl-C or SIGTERM ended it, after everything that it had started was ended, too.
    """
    from tailrace.run import folder
    from tailrace.runner.parameters import Override
    from tailrace.runner.run import RunOptions

    root = folder.find_project(Path.cwd())
    sys.exit(execute(RunOptions(root, profile, tuple(map(Override.parse, params)), only, baseline, tolerance)))


@click.command()
@click.option(
    "--plan", "plan_file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The grid, a YAML file; runbook/benchmarks has some.",
)  # fmt: skip
@click.option("--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file.")
@click.option("--resume", metavar="RUN", type=FOLDER, help="Keep the cells that RUN, a folder in runs/, has measured.")
def bench(plan_file: Path, profile: str, resume: Path | None) -> None:
    """Measure a grid of loads and lengths on one or more targets: which one, and how many?

    \b
    Runs notebook 06_benchmark; the report and the exit status are those of `tailrace run`.
    """
    from tailrace import bench as benchmark
    from tailrace.run import folder
    from tailrace.run.folder import RunDir
    from tailrace.runner.parameters import Override
    from tailrace.runner.run import RunOptions

    root = folder.find_project(Path.cwd())
    plan = benchmark.load(plan_file)  # a mistake in it is said before anything starts
    terminal.say(f"{plan_file}: {len(plan.cells())} measurements, at most {plan.longest_s / 60:.0f} min")
    values = {"grid": os.path.relpath(plan_file.resolve(), root), "resume": RunDir.of(resume).id if resume else ""}
    overrides = tuple(Override(BENCHMARK, name, value) for name, value in values.items())
    sys.exit(execute(RunOptions(root, profile, overrides, (BENCHMARK,))))


def execute(options: RunOptions) -> int | None:
    """Run the runbook with `options`, say where its report is, and return the exit status."""
    from rich.console import Console

    from tailrace.run import folder
    from tailrace.runner import run as runner
    from tailrace.runner.display import Display
    from tailrace.runner.interrupt import EndedAtOnce

    try:
        record = runner.run(options, Display(Console(highlight=False)))
    except EndedAtOnce as end:
        terminal.say(f"tailrace: {end}", err=True)
        return end.exit_code
    latest = folder.latest(options.root)
    if latest.report.exists():
        terminal.say(f"report: {_near(latest.report)}")
    else:
        terminal.say(f"report: none was written; see {_near(latest.record)}")
    return record.exit_code


@click.command()
@click.argument("run", type=FOLDER)
def report(run: Path) -> None:
    """Draw figures, tables and the page of RUN (a folder in runs/) again from its records."""
    from tailrace.report import page
    from tailrace.run.folder import RunDir

    terminal.say(f"report: {_near(page.write(RunDir.of(run).path))}")


@click.command()
@click.argument("run_a", type=FOLDER)
@click.argument("run_b", type=FOLDER)
@tolerance
@click.option("--on", default="", metavar="STEP/records:PHASE", help="Records to compare; without it, the switch.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(run_a: Path, run_b: Path, tolerance: float, on: str, as_json: bool) -> None:
    """Decide whether RUN_B is slower than RUN_A (folders in runs/), by paired windows of time.

    \b
    Exit status: 0 PASS, p99 is no slower than tolerated; 1 FAIL, it is; 2 INCONCLUSIVE.
    """
    from tailrace.report import baseline
    from tailrace.run.folder import RunDir
    from tailrace.verdict import EXIT_CODES

    before, after = RunDir.of(run_a), RunDir.of(run_b)
    compared = baseline.against(after.path, before.path, tolerance, on)
    if as_json:
        answer = {"a": before.id, "b": after.id, "tolerance": tolerance, **baseline.document(compared)}
        click.echo(terminal.document(answer))
    else:
        terminal.say(f"a  {before.id}\nb  {after.id}\n\n{baseline.text(compared)}")
    sys.exit(EXIT_CODES[compared.judgement.verdict])


@click.command()
@click.option("--profile", default="local", show_default=True, help="Name in runbook/profiles, or a YAML file.")
def down(profile: str) -> None:
    """Stop everything that runs of the profile left running."""
    from tailrace.run.folder import find_project
    from tailrace.runner import run as runner

    for line in runner.down(find_project(Path.cwd()), profile) or [f"{profile}: nothing was running"]:
        terminal.say(line)


def _near(path: Path) -> str:
    """Return `path` relative to the working directory, when it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
