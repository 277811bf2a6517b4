"""Tables of tokens for people: the times of streams, goodput, and counted against planned tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from tailrace import analysis
from tailrace.analysis import disk
from tailrace.analysis.tokens import DEVIATION
from tailrace.numbers import number, percent
from tailrace.report.cells import cell
from tailrace.report.evidence import LargeRecords

TITLES: Final = {"e2e": "end to end", "ttft": "TTFT", "tpot": "TPOT", "itl": "ITL"}
SHOWN: Final = ("p50", "p95", "p99")


def streams(
    records: pd.DataFrame | LargeRecords,
    gaps: pd.DataFrame | None = None,
    *,
    by: Sequence[str] = ("phase",),
    order: Sequence[str] = (),
    percentiles: Sequence[str] = SHOWN,
) -> pd.DataFrame:
    """Return a row per group and measure of streams: n, failed, each percentile with its interval, slow episodes.

    `order` are the values of the first column of `by` to show, in that order; all when it is empty.
    End to end and TTFT count from the intended start. n of ITL counts gaps, and its episodes seconds.
    """
    tables = {name: _times(records, tuple(by), percentiles, name) for name in TITLES if name != "itl"}
    if gaps is not None:
        tables["itl"] = analysis.itl(gaps, by=tuple(by), percentiles=percentiles)
    rows = [
        {**row, "place": place, "of streams": TITLES[measure], **_figures(row, percentiles)}
        for place, (measure, table) in enumerate(tables.items())
        for row in table.to_dict("records")
    ]
    columns = [*by, "place", "of streams", "n", "failed", *(f"{name}, ms" for name in percentiles), "slow episodes"]
    shown = pd.DataFrame(rows, columns=columns).sort_values([*by, "place"], kind="stable", ignore_index=True)
    if order:
        shown = pd.concat([shown[shown[by[0]] == value] for value in order], ignore_index=True)
    return shown.drop(columns="place") if rows else pd.DataFrame({"of streams": ["none was recorded"]})


def goodput(
    records: pd.DataFrame | LargeRecords, *, limits_ms: Mapping[str, float], by: Sequence[str] = ("phase",)
) -> pd.DataFrame:
    """Return a row per group: requests that the limits are for, the share that kept all, and their rate."""
    if isinstance(records, LargeRecords):
        table = disk.goodput(records.folders, limits_ms, tuple(by), phases=records.phases)
    else:
        table = analysis.goodput(records, limits_ms, by=tuple(by))
    limits = ", ".join(f"{TITLES.get(name, name)} {number(limit)} ms" for name, limit in limits_ms.items())
    shown = table[list(by)].astype("str")
    shown["streams" if {"ttft", "tpot"} & limits_ms.keys() else "requests"] = [f"{n:,}" for n in table["n"]]
    shown[f"good: {limits}"] = [_share(row) for row in table.to_dict("records")]
    shown["goodput, /s"] = [number(v) for v in table["rps"]]
    return shown


def tokens(records: pd.DataFrame, *, by: Sequence[str] = ("phase",)) -> pd.DataFrame:
    """Return a row per group: tokens in and out as counted, their deviation from the plan, and tokens per second.

    A deviation beyond 2 % is marked; it is n/a where no length was planned, or none counted.
    """
    table = analysis.tokens(records, by=tuple(by))
    shown = table[list(by)].astype("str")
    shown["answers"] = [_counted(row) for row in table.to_dict("records")]
    for name in ("in", "out"):
        shown[f"tokens {name}"] = [f"{n:,}" for n in table[f"{name}_tok"]]
        shown[f"of planned {name}"] = [_deviation(v) for v in table[f"{name}_deviation"]]
    shown["of them reasoning"] = [f"{n:,}" for n in table["reasoning_tok"]]
    shown["tokens/s, all"] = [number(v) for v in table["per_s"]]
    shown["tokens/s, a user"] = [number(v) for v in table["per_user_s"]]
    return shown


def _times(
    records: pd.DataFrame | LargeRecords, by: tuple[str, ...], percentiles: Sequence[str], measure: str
) -> pd.DataFrame:
    if isinstance(records, LargeRecords):
        return disk.latency(records.folders, by, "intended", percentiles, measure=measure, phases=records.phases)
    return analysis.latency(records, by=by, percentiles=percentiles, measure=measure)


def _figures(row: Mapping[str, Any], percentiles: Sequence[str]) -> dict[str, str]:
    figures = {"n": f"{int(row['n']):,}", "failed": f"{int(row['errors']):,}" if "errors" in row else "n/a"}
    figures |= {f"{name}, ms": cell(row, name) for name in percentiles}
    return figures | {"slow episodes": f"{int(row['episodes']):,}"}


def _share(row: Mapping[str, Any]) -> str:
    interval = f" [{percent(row['share_lo'])}, {percent(row['share_hi'])}]" if row["n"] else ""
    return f"{percent(row['share'])}{interval}"


def _counted(row: Mapping[str, Any]) -> str:
    return f"{row['n']:,} ({row['uncounted']:,} uncounted)" if row["uncounted"] else f"{row['n']:,}"


def _deviation(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    text = f"{value:+.1%}".replace("%", " %")
    return f"{text}, beyond {percent(DEVIATION)}" if abs(value) > DEVIATION else text
