"""How long a report takes: `python tests/bench/bench_report.py [RUN] [--records 1]`.

RUN          a run's folder, runs/latest by default: its page, drawn by one process and by one a core
--records N  millions of records that each figure of the catalogue is drawn from (default 1; 0 leaves this out)

CPU seconds include those of the drawing processes.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))
from conftest import frame  # the made-up run of the unit tests
from tailrace.report import catalogue, drawing, page
from tailrace.run.record import cores

OWN_FRAMES = {
    name for name, figure in catalogue.FIGURES.items() if "records" not in inspect.signature(figure).parameters
}


def timed(act: Callable[[], str]) -> tuple[str, float, float]:
    """Return what `act` returns, and its seconds of wall and CPU."""
    began, before = time.perf_counter(), sum(os.times()[:4])
    text = act()
    return text, time.perf_counter() - began, sum(os.times()[:4]) - before


def pages(run: Path) -> None:
    drawing.draw_all(())
    for processes in sorted({1, cores()}):
        with patch.object(drawing, "cores", partial(int, processes)):
            text, wall_s, cpu_s = timed(partial(page.html, run))
        print(f"page of {run.name}, {processes} drawing: {wall_s:.2f} s, CPU {cpu_s:.2f} s, {len(text) / 1000:,.0f} kB")


def figures(millions: float) -> None:
    n = round(millions * 1e6)
    turn = np.arange(n)
    records = frame(n, n / 50, 3).assign(
        colour=np.where(turn < n // 2, "blue", "green"),
        phase=np.array(["a", "b", "c", "d"])[turn % 4],
        outcome=np.where(turn % 97 == 0, "error", np.where(turn % 3 == 0, "hit", "miss")),
    )
    records = records.astype({"colour": "str", "phase": "str", "outcome": "str"})
    for name in sorted(catalogue.FIGURES.keys() - OWN_FRAMES):
        drawn, _, frame_s = timed(lambda name=name: catalogue.draw(name, {"records": records}.__getitem__))
        svg, _, svg_s = timed(drawn.svg)
        print(
            f"{name:<12}{millions:g} M records: CPU {frame_s:.2f} s + {svg_s:.2f} s to SVG, {len(svg) / 1000:,.0f} kB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/latest"))
    parser.add_argument("--records", type=float, default=1.0)
    arguments = parser.parse_args()
    if arguments.run.is_dir():
        pages(arguments.run.resolve())
    else:
        print(f"{arguments.run}: no run; its page is left out")
    if arguments.records:
        figures(arguments.records)


if __name__ == "__main__":
    main()
