"""Where the time of a whole run goes: `python tests/bench/bench_run.py [RUN_OR_PROJECT ...] [--times 3]`.

A run's folder is read; a project is run first, with its own `.venv`, and several projects take turns. Without
either, this project is run. The parts of a step are read from `events.jsonl` and the executed notebooks' cell
timings, so an older tree's runs can be read, too:

start    from `step_started` to the cell that begins the step: the kernel starts, the notebook imports
cells    the notebook's own work, from that cell to the end of the last one
end      from there to `step_ended`: the kernel ends

CPU seconds are known for runs that are made here. They are sampled from /proc over all processes that the run
started, and spread over the parts by time.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EVERY_S = 0.1
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PARTS = ("set-up", "start", "cells", "end", "teardown", "scan", "page", "index")
CHECKS = {
    "nothing is left running": "teardown",
    "no credential in any artefact": "scan",
    "the report is written": "page",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A stretch of a run, on the wall clock; `step` is empty for what belongs to the run as a whole."""

    name: str
    step: str
    begin_s: float
    end_s: float

    @property
    def wall_s(self) -> float:
        return self.end_s - self.begin_s


@dataclass
class Sampler:
    """CPU seconds of a process and of all that descends from it, sampled until `stop`."""

    pid: int
    times: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def sample(self) -> None:
        family, used = {self.pid}, dict[tuple[int, str], int]()
        while not self.stop.is_set():
            parents = {int(p.name): _stat(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
            ours = {pid: stat for pid, stat in parents.items() if stat}
            grown = 0
            while grown != len(family):  # a process that outlived its parent stays in the family
                grown = len(family)
                family |= {pid for pid, stat in ours.items() if int(stat[1]) in family}
            for pid in family & ours.keys():
                used[pid, ours[pid][19]] = int(ours[pid][11]) + int(ours[pid][12])
            self.times.append(time.time())
            self.cpu_s.append(sum(used.values()) * TICK_S)
            self.stop.wait(EVERY_S)

    def between(self, begin_s: float, end_s: float) -> float:
        """Return the CPU seconds that were used between two moments."""
        return self._until(end_s) - self._until(begin_s)

    def _until(self, moment_s: float) -> float:
        place = bisect.bisect(self.times, moment_s)
        return self.cpu_s[min(place, len(self.cpu_s) - 1)]


@dataclass(frozen=True)
class Timed:
    """One run: its parts, and who used how much CPU meanwhile, where that was sampled."""

    name: str
    parts: Sequence[Part]
    sampler: Sampler | None

    def wall_s(self, name: str = "", step: str | None = None) -> float:
        return sum(part.wall_s for part in self._chosen(name, step))

    def used_s(self, name: str = "", step: str | None = None) -> float | None:
        chosen = self._chosen(name, step)
        return sum(self.sampler.between(p.begin_s, p.end_s) for p in chosen) if self.sampler else None

    def _chosen(self, name: str, step: str | None) -> list[Part]:
        return [p for p in self.parts if name in ("", p.name) and step in (None, p.step)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path, help="folders of runs, or projects to be run")
    parser.add_argument("--times", type=int, default=1, help="how often each project is run")
    parser.add_argument("--profile", default="local")
    options = parser.parse_args()
    paths = [path.resolve() for path in options.paths] or [ROOT]
    folders = [path for path in paths if (path / "run.json").is_file()]
    runs = [timed(path.name, path, None) for path in folders]
    projects = [path for path in paths if path not in folders]
    for _ in range(options.times):
        for project in projects:
            runs.append(made(project, options.profile))
            print(_by_step(runs[-1]), flush=True)
    for run in runs[: len(folders)]:
        print(_by_step(run))
    if len(runs) > 1:
        print(_side_by_side(runs))


def made(project: Path, profile: str) -> Timed:
    """Run the runbook of `project` and return its times, from the start of the process to its end."""
    begin_s = time.time()
    command = [str(project / ".venv/bin/tailrace"), "run", "--profile", profile]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL) as process:
        sampler = Sampler(process.pid)
        thread = threading.Thread(target=sampler.sample)
        thread.start()
        status = process.wait()
    end_s = time.time()
    sampler.stop.set()
    thread.join()
    if status not in (0, 2):
        sys.exit(f"{' '.join(command)} left with {status}; look into {project}/runs/latest")
    run = (project / "runs/latest").resolve()
    return timed(f"{project.name}/{run.name[9:15]}", run, sampler, begin_s, end_s)


def timed(
    name: str, run: Path, sampler: Sampler | None, begin_s: float | None = None, end_s: float | None = None
) -> Timed:
    """Return the times of the run in the folder `run`; its own record stands in for the ends that are not given."""
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    record = json.loads((run / "run.json").read_text())
    begin_s = begin_s or _seconds(record["started_at"])
    parts = list(_parts(run, events, begin_s))
    last_s = parts[-1].end_s
    return Timed(name, [*parts, Part("index", "", last_s, end_s or last_s)], sampler)


def _parts(run: Path, events: list[dict[str, Any]], begin_s: float) -> Iterator[Part]:
    """Yield what follows one upon the other, without gaps."""
    last_s = begin_s
    for event in events:
        at_s = _seconds(event["at"])
        step = event.get("step", "")
        if event["event"] == "step_started":
            yield Part("set-up", "", last_s, at_s)
        elif event["event"] == "step_ended":
            begun_s = next(
                (_seconds(e["at"]) for e in events if e["event"] == "step_begun" and e["step"] == step), at_s
            )
            cells = list(_cells(run / "notebooks" / f"{step}.ipynb"))
            first_s = max((begin for begin, _ in cells if begin <= begun_s), default=begun_s)
            ended_s = max((end for _, end in cells), default=at_s)
            yield Part("start", step, last_s, first_s)
            yield Part("cells", step, first_s, ended_s)
            yield Part("end", step, ended_s, at_s)
        elif not (event["event"] == "check" and event["name"] in CHECKS and not step):
            continue
        else:
            yield Part(CHECKS[event["name"]], "", last_s, at_s)
        last_s = at_s


def _cells(notebook: Path) -> Iterator[tuple[float, float]]:
    for cell in json.loads(notebook.read_text())["cells"]:
        times = cell["metadata"].get("papermill", {})
        if cell["cell_type"] == "code" and times.get("end_time"):
            yield _seconds(times["start_time"]), _seconds(times["end_time"])


def _stat(process: Path) -> list[str]:
    """Return the fields of /proc/PID/stat after the name; [] when the process is gone."""
    try:
        return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _by_step(run: Timed) -> str:
    """Return the table of one run: a line per step; wall seconds, and CPU seconds in brackets."""
    steps = list(dict.fromkeys(part.step for part in run.parts if part.step))
    columns = ("start", "cells", "end")
    rows = [["step", *columns, "whole"]]
    rows += [[step, *(_cell(run, name, step) for name in columns), _cell(run, "", step)] for step in steps]
    rows += [[name, "", "", "", _cell(run, name, "")] for name in PARTS if name not in columns]
    rows += [["run", *(_cell(run, name) for name in columns), _cell(run)]]
    return f"\n{run.name}: wall seconds{' [CPU seconds]' if run.sampler else ''}\n{_table(rows)}"


def _side_by_side(runs: Sequence[Timed]) -> str:
    """Return the table of several runs: a line per part, summed over the steps, and the median per project."""
    groups = defaultdict[str, list[Timed]](list)
    for run in runs:
        groups[run.name.partition("/")[0]].append(run)
    rows = [["part", *(f"{name} ×{len(group)}" if len(group) > 1 else name for name, group in groups.items())]]
    rows += [[name, *(_median(group, name) for group in groups.values())] for name in PARTS]
    rows += [["not cells", *(_median(group, "", but="cells") for group in groups.values())]]
    rows += [["whole", *(_median(group, "") for group in groups.values())]]
    return f"\nmedians, wall seconds [CPU seconds]\n{_table(rows)}"


def _median(group: Sequence[Timed], name: str, but: str = "") -> str:
    wall_s = statistics.median(run.wall_s(name) - (run.wall_s(but) if but else 0) for run in group)
    used = [used for run in group if (used := run.used_s(name)) is not None]
    less = [run.used_s(but) or 0.0 for run in group] if but else []
    used_s = statistics.median(used) - (statistics.median(less) if less else 0) if used else None
    return _written(wall_s, used_s)


def _cell(run: Timed, name: str = "", step: str | None = None) -> str:
    return _written(run.wall_s(name, step), run.used_s(name, step))


def _written(wall_s: float, used_s: float | None) -> str:
    return f"{wall_s:.1f}" + ("" if used_s is None else f" [{used_s:.1f}]")


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([header, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *others])


if __name__ == "__main__":
    main()
