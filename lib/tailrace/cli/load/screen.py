"""The output on a terminal: a live line while the load runs, and a table when it has finished."""

from __future__ import annotations

import math
import sys
import time
from typing import Any, TextIO

from tailrace import percentiles
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
            out.write(f"\r\x1b[K{text}")
            out.flush()
        elif time.monotonic() - last_line_s >= _PLAIN_EVERY_S:
            last_line_s = time.monotonic()
            out.write(text + "\n")
    if live:
        out.write("\r\x1b[K")
        out.flush()


def line(snapshot: LoadSnapshot, elapsed_s: float, loop: str) -> str:
    """Return `12.0 s  open loop  1,200 sent  1,195 done  0 errors  100/s  p50 31.2 ms  p99 61.0 ms`."""
    rate = _number(snapshot.rate_rps, ".0f")
    p50, p99 = _number(snapshot.p50_ms, ".1f"), _number(snapshot.p99_ms, ".1f")
    return (
        f"{elapsed_s:6.1f} s  {loop} loop  {snapshot.sent:,} sent  {snapshot.done:,} done  {snapshot.errors:,} errors  "
        f"{rate}/s  p50 {p50} ms  p99 {p99} ms"
    )


def point(measured: Point) -> str:
    """Return `     100.0/s  goodput      100.0/s  p99 61.0 ms  meets`."""
    latencies = "  ".join(f"{name} {value:,.1f} ms" for name, value in measured.latencies_ms.items())
    result = "meets" if measured.meets and measured.valid else measured.reason
    return f"{measured.rate_rps:10,.1f}/s  goodput {measured.goodput_rps:10,.1f}/s  {latencies}  {result}"


def table(document: dict[str, Any]) -> str:
    """Return the percentiles of a summary as plain text, below the reasons why they are not valid."""
    loop = document["loop"]
    rate = f"{_number(document['achieved_rps'], ',.1f')} of {_number(document['intended_rps'], ',.1f')} requests/s"
    lines = [f"{loop} loop · {rate} · generator lag p99 {_number(document['send_lag_p99_ms'], '.2f')} ms"]
    if document.get("floor"):
        lines.append(document["floor"]["text"])
    lines += [f"INVALID: {reason}" for reason in document["reasons"]]
    if document["errors_by_type"]:
        lines.append("errors: " + ", ".join(f"{kind} {n:,}" for kind, n in document["errors_by_type"].items()))
    names = [*(percentiles.column(name) for name in percentiles.PERCENTILES), "max_ms"]
    lines.append(
        f"{'group':<18}{'from':<10}{'n':>9}{'errors':>8}" + "".join(f"{name[:-3]:>10}" for name in names) + "  ms"
    )
    for row in document["groups"]:
        figures = "".join(f"{_number(row[name], ',.2f'):>10}" for name in names)
        lines.append(f"{row['group'][:17]:<18}{row['from']:<10}{row['n']:>9,}{row['errors']:>8,}{figures}")
    return "\n".join(lines)


def _number(value: float | None, form: str) -> str:
    return "n/a" if value is None or math.isnan(value) else format(value, form)
