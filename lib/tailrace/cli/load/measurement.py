"""Runs a load, or searches for the highest rate; reports, stores and judges the result."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tailrace import load
from tailrace.cli import terminal
from tailrace.cli.load import reasons, screen, tables
from tailrace.cli.load.destination import claimed
from tailrace.cli.load.options import LoadOptions
from tailrace.cli.load.preparation import prepare
from tailrace.host import files
from tailrace.load import LoadRun, Summary, beside, rate_search
from tailrace.load.calibration import floor
from tailrace.load.rate_point import Point
from tailrace.load.rate_search import Search
from tailrace.objectives import Objectives
from tailrace.verdict import EXIT_CODES, FAIL, INCONCLUSIVE, PASS, Verdict, fold

if TYPE_CHECKING:
    from tailrace.analysis import Judgement

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C or SIGTERM."""
KEPT: Final = "interrupted: the records so far are kept"
_PLAIN_WIDTH: Final = 120
UP_TO: Final = 64
"""The last rate of a search over the first one, unless --to-rate sets it."""


def run_load(options: LoadOptions) -> int:
    """Run the load, print and write its summary, and return the exit status."""
    with claimed(options.out) as folder:
        prepared = prepare(options)
        load_run = load.prepare(prepared.traffic, options.url, folder, options=options.sender)
        load_run.beside += options.beside
        load_run.begin()
        interrupted, floor_facts = False, None
        try:
            screen.watch(load_run)
            load_run.wait()
            floor_facts = _floor(options.traffic.rate) if options.floor else None
        except KeyboardInterrupt:
            load_run.stop(grace_s=1.0)
            terminal.say(KEPT, err=True)
            interrupted = True
        with _unbroken():
            more = {"findings": prepared.findings, **({"floor": floor_facts} if floor_facts else {})}
            return _report(options, load_run, folder, more, interrupted)


def _report(options: LoadOptions, load_run: LoadRun, folder: Path, more: dict[str, Any], interrupted: bool) -> int:
    """Print and write the summary, with `more` in it; return the exit status."""
    # pandas is imported only now: it would delay the traffic.
    from tailrace import analysis
    from tailrace.cli.load.document import COLUMNS, document

    summary = load_run.summary
    content = document(summary, load_run.parts, options.objectives.good_ms)
    content |= {"url": options.shown_url, "arrivals": load_run.traffic.arrivals.name, "seed": options.traffic.seed}
    content |= more
    content |= reasons.why(load_run) if summary.errors and not interrupted else {}
    content |= reasons.server(load_run) if options.server_metrics else {}
    judgements = [] if interrupted else answered(summary)
    if options.objectives != Objectives():
        records, gaps = analysis.read(load_run.parts, COLUMNS), analysis.gaps.read(load_run.parts)
        judgements += analysis.judge(records, options.objectives, invalid=summary.reasons, gaps=gaps)
    content["judgements"] = [asdict(judgement) for judgement in judgements]
    lines = [f"{judgement.verdict}: {judgement.text}" for judgement in judgements]
    _publish(options, folder / "summary.json", content, [tables.summary(content, _width()), *lines])
    if interrupted:
        return INTERRUPTED
    verdicts: list[Verdict] = [judgement.verdict for judgement in judgements]
    return EXIT_CODES[fold(verdicts or [PASS if summary.valid else INCONCLUSIVE])]


def answered(summary: Summary) -> list[Judgement]:
    """Return FAIL with its reason when no request succeeded, whatever the limits are; else nothing."""
    from tailrace.analysis import Judgement

    if not summary.recorded or summary.errors < summary.recorded:
        return []
    classes = ", ".join(f"{kind} {n:,}" for kind, n in summary.errors_by_type.items())
    return [Judgement("answered", FAIL, f"every one of {summary.recorded:,} requests failed ({classes})")]


def find_capacity(options: LoadOptions) -> int:
    """Search for the highest rate within the limits; return exit status 0 when it was found, 2 when not."""
    first, objectives = options.traffic.rate, options.objectives
    if not objectives.good_ms:
        objectives = replace(objectives, latency_ms={"p99": 1000.0})
    if objectives.error_rate is None:
        objectives = replace(objectives, error_rate=0.01)
    search = Search(first, options.traffic.to_rate or first * UP_TO)

    with claimed(options.out) as folder:
        prepared = prepare(options)
        probe = rate_search.probe(prepared.at, options.url, folder, objectives, options.sender)
        try:
            with beside.during(options.beside, folder, "search"):
                capacity = rate_search.find(_reported(probe), search)
        except KeyboardInterrupt:
            terminal.say(KEPT, err=True)
            return INTERRUPTED
        content = {**asdict(capacity), "objectives": asdict(objectives), "url": options.shown_url}
        content["findings"] = prepared.findings
        _publish(options, folder / "limit.json", content, [capacity.reason])
    return EXIT_CODES[PASS if capacity.highest_rps > 0 else INCONCLUSIVE]


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Let Ctrl-C wait while the summary is made: the traffic is over, and half a summary helps nobody."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _width() -> int:
    """Return the width of the terminal; where stdout is none, all columns fit."""
    return shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns if sys.stdout.isatty() else _PLAIN_WIDTH


def _floor(rate_rps: float) -> dict[str, Any]:
    measured = floor(min(rate_rps, 1000.0) if rate_rps >= 100 else 100.0)
    return {**asdict(measured), "text": str(measured)}


def _reported(measure: Callable[[float], Point]) -> Callable[[float], Point]:
    """Return `measure` with a line on stderr for each rate."""

    def measured(rate_rps: float) -> Point:
        point = measure(rate_rps)
        terminal.say(screen.point(point), err=True)
        return point

    return measured


def _publish(options: LoadOptions, file: Path, content: dict[str, Any], lines: list[str]) -> None:
    """Write `content` as JSON into `file`, and print it, or `lines`."""
    text = terminal.document(content)
    files.replace(file, text + "\n")
    with contextlib.suppress(BrokenPipeError):
        lines = [*lines, f"records and {file.name}: {file.parent}"]
        if sys.stdout.isatty():
            lines = [tables.wrapped(line, max(80, _width())) for line in lines]
        click.echo(text if options.as_json else terminal.shown("\n".join(lines)))
