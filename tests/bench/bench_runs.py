"""What many old runs cost a new one: `python tests/bench/bench_runs.py [--old 2001] [--few 2]`.

Old runs are made up: a `run.json` each, that of a run which passed, without records. The table has the seconds of what
a new run does with them, for few and for many: start, index and history; a list of runs takes at most a second for
summaries that are missing, until all are made.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tailrace.profile import Profile
from tailrace.report import index, store
from tailrace.run import folder
from tailrace.runner import history
from tailrace.verdict import EXIT_CODES, PASS

PROFILE = Profile(name="local")
LIMIT_S = 3.0


def make(root: Path, count: int) -> None:
    """Make `count` runs that have ended."""
    for _ in range(count):
        run = folder.create_run(root, PROFILE, "exploratory")
        record = run.read().model_copy(update={"kind": "run"})
        run.write(record.finished(PASS, EXIT_CODES[PASS]))


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def seconds(root: Path) -> dict[str, float]:
    """Return the seconds of each thing that a new run does with all old ones."""
    runs = root / folder.RUNS
    return {
        "start: unfinished runs": timed(lambda: history.unfinished(root)),
        "start: durations of steps": timed(lambda: history.durations(root, PROFILE.name)),
        "index, first": timed(lambda: index.write(runs)),
        "index, next": timed(lambda: index.write(runs)),
        "history": timed(lambda: store.history(runs)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=int, default=2001)
    parser.add_argument("--few", type=int, default=2)
    options = parser.parse_args()
    columns = []
    for count in (options.few, options.old):
        with tempfile.TemporaryDirectory() as folder_of_runs:
            make(Path(folder_of_runs), count)
            columns.append(seconds(Path(folder_of_runs)))
    few, many = columns
    print(f"{'':28} {options.few:>8} {options.old:>8}   more")
    for name in few:
        print(f"{name:28} {few[name]:8.3f} {many[name]:8.3f} {many[name] - few[name]:+7.3f} s")
    more_s = sum(many.values()) - sum(few.values()) - (many["index, next"] - few["index, next"])
    print(f"a new run takes {more_s:.2f} s more; the limit is {LIMIT_S:g} s")
    sys.exit(more_s > LIMIT_S)


if __name__ == "__main__":
    main()
