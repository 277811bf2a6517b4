"""How long the command line takes to answer: `python tests/bench/bench_cli.py [--times 5]`.

The fastest of several calls: every help text, and `tailrace status`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tailrace.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]


def fastest(arguments: list[str], times: int) -> tuple[float, float]:
    """Return the least wall and CPU seconds of `tailrace` with these arguments."""
    walls, cpus = [], []
    for _ in range(times):
        began, before = time.perf_counter(), sum(os.times()[2:4])
        subprocess.run([sys.executable, "-m", "tailrace", *arguments], cwd=ROOT, capture_output=True, check=False)
        walls.append(time.perf_counter() - began)
        cpus.append(sum(os.times()[2:4]) - before)
    return min(walls), min(cpus)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    print("command                     wall, s   CPU, s")
    for arguments in [["--help"], *([name, "--help"] for name in sorted(COMMANDS)), ["status"]]:
        wall_s, cpu_s = fastest(arguments, times)
        print(f"tailrace {' '.join(arguments):<20}{wall_s:>6.2f}{cpu_s:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
