"""How fast the numbers are, and what they are worth: `python tests/bench/bench_analysis.py`.

    --records 10 50     millions of records whose percentiles are taken, in 400 groups (default 2)
    --study 200         repeats of the coverage study and of the comparison's alarms (default 0: left out)

Percentiles are taken with their intervals, in a process of their own: from parquet by DuckDB, and in memory by
pandas. "peak" is that process's largest resident memory, everything in it counted.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tailrace import analysis
from tailrace.analysis import disk, study
from tailrace.records import Record
from tailrace.report import tables

GROUPS = 400
PART = 500_000
NEEDED = ["phase", "outcome", "intended_ns", "service_us", "send_lag_us"]


def part(number: int, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Return the columns of `PART` records: lognormal latencies, 0.3 % failures, 400 phases."""
    columns = {}
    for name, kind in typing.get_type_hints(Record).items():
        plain = {str: "", bool: False, int: 1}[kind]
        columns[name] = pa.repeat(pa.scalar(plain), PART)
    columns["phase"] = pa.DictionaryArray.from_arrays(
        pa.array(rng.integers(0, GROUPS, PART).astype(np.int16)), pa.array([f"g{i:03d}" for i in range(GROUPS)])
    )
    columns["outcome"] = pa.array(np.where(rng.random(PART) < 0.003, "error", "miss"))
    columns["colour"] = pa.array(np.where(rng.random(PART) < 0.5, "blue", "green"))
    columns["stream"] = pa.array(rng.random(PART) < 0.3)
    columns["intended_ns"] = pa.array(np.arange(number * PART, (number + 1) * PART) * 10_000 + 10**12)
    columns["service_us"] = pa.array(rng.lognormal(11, 0.4, PART).astype(np.int64))
    columns["send_lag_us"] = pa.array(rng.integers(0, 500, PART))
    columns["ttfc_us"] = pa.array(rng.lognormal(10, 0.4, PART).astype(np.int64))
    columns["chunks"] = pa.array(rng.integers(0, 60, PART))
    return columns


def write(folder: Path, millions: float) -> None:
    rng = np.random.default_rng(1)
    for number in range(round(millions * 1e6 / PART)):
        path = folder / f"part-{number:04d}.parquet"
        pq.write_table(pa.table(part(number, rng)), path, compression="zstd")


def measure(how: str, folder: Path) -> dict[str, float]:
    """Take the percentiles in this process; return seconds and peak memory."""
    if how == "parquet":
        began = time.perf_counter()
        disk.latency(folder)
    else:
        records = analysis.read(folder, columns=NEEDED).astype({"phase": "category", "outcome": "category"})
        began = time.perf_counter()
        analysis.latency(records)
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": seconds, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1_024}


def percentiles(millions: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, millions)
        for how, said in (("parquet", "from parquet, by DuckDB"), ("memory", "in memory, by pandas")):
            if how == "memory" and millions > 20:
                continue
            command = [sys.executable, __file__, "--measure", how, "--folder", name]
            done = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
            row = f"{done['seconds']:>8.2f} s{done['peak_mb']:>9,.0f} MB"
            print(f"{millions:>6g} M percentiles with intervals, {said:<26}{row}", flush=True)


def worth(repeats: int) -> None:
    print(tables.coverage(study.coverage(repeats=repeats)).to_string(index=False), flush=True)
    effects = {"none": 0.0, "+0.2 s on 1 %": 0.2, "+1 s on 1 %": 1.0}
    alarms = study.alarms(effects, repeats=repeats)
    with pd.option_context("display.width", 160):
        print(alarms.to_string(index=False), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=float, nargs="*", default=[2])
    parser.add_argument("--study", type=int, default=0)
    parser.add_argument("--measure", choices=["parquet", "memory"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.folder)))
        return
    for millions in given.records:
        percentiles(millions)
    if given.study:
        worth(given.study)


if __name__ == "__main__":
    main()
