"""The output on a terminal while a load runs."""

from __future__ import annotations

import math
import shutil
import sys
import time
from typing import TextIO

from tailrace.load import LoadRun, LoadSnapshot
from tailrace.load.rate_point import Point

_REFRESH_S = 0.25
_PLAIN_EVERY_S = 5.0


def watch(load_run: LoadRun, out: TextIO = sys.stderr) -> None:
    """Show a live line until the load run has ended, or a plain line every five seconds where `out` is no terminal."""
    live, last_line_s = out.isatty(), time.monotonic()
    while load_run.running:
        time.sleep(_REFRESH_S)
        text = line(load_run.snapshot, (time.perf_counter_ns() - load_run.start_ns) / 1e9, load_run.traffic.loop)
        if live:
            out.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
            out.flush()
        elif time.monotonic() - last_line_s >= _PLAIN_EVERY_S:
            last_line_s = time.monotonic()
            out.write(text + "\n")
    if live:
        out.write("\r\x1b[K")
        out.flush()


def line(snapshot: LoadSnapshot, elapsed_s: float, loop: str) -> str:
    """Return `12.0 s  open loop  1,200 sent 1,195 done 0 errors  100/s  p50 31.2  p99 61.0 ms`."""
    rate = _number(snapshot.rate_rps, ".0f")
    p50, p99 = _number(snapshot.p50_ms, ".1f"), _number(snapshot.p99_ms, ".1f")
    return (
        f"{elapsed_s:5.1f} s  {loop} loop  {snapshot.sent:,} sent {snapshot.done:,} done {snapshot.errors:,} errors  "
        f"{rate}/s  p50 {p50}  p99 {p99} ms"
    )


def point(measured: Point) -> str:
    """Return `     100.0/s  goodput      100.0/s  p99 61.0 ms  meets`."""
    latencies = [f"{name} {value:,.1f} ms" for name, value in measured.latencies_ms.items()]
    result = "meets" if measured.meets and measured.valid else measured.reason
    good = "" if math.isnan(measured.good_share) else f" ({measured.good_share:.1%} good)"
    rates = f"{measured.rate_rps:10,.1f}/s  goodput {measured.goodput_rps:10,.1f}/s{good}"
    return "  ".join([rates, *latencies, result])


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None or math.isnan(value) else format(value, form)
