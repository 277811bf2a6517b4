"""Tables for people: numbers as text with their intervals, and missing ones in words."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pandas as pd

from tailrace import analysis
from tailrace.analysis import capacity, disk, frames
from tailrace.analysis.compare import beside
from tailrace.analysis.variants import variants
from tailrace.bench import answers
from tailrace.numbers import number, percent
from tailrace.objectives import Objectives
from tailrace.percentiles import PERCENTILES, column
from tailrace.report import binding, markup
from tailrace.report.binding import Load
from tailrace.report.cells import cell as cell
from tailrace.report.evidence import LargeRecords, Loader
from tailrace.report.token_tables import goodput, streams, tokens
from tailrace.verdict import state_of


def draw(name: str, load: Load, /, caption: str = "", **options: Any) -> str:
    """Return the table `name` as HTML, from the frames that `load` returns; raise ValueError for an unknown name."""
    return markup.table(build(name, load, **options), caption)


def build(name: str, load: Load, /, **options: Any) -> pd.DataFrame:
    """Return the table `name` with its numbers as text."""
    if name in LARGE and isinstance(load, Loader):
        chosen = dict(options)
        if large := load.large(str(chosen.pop("records", "records"))):
            gaps = {"gaps": load(str(chosen.pop("gaps", "gaps")))} if name == "streams" else {}
            return TABLES[name](large, **gaps, **chosen)
    table: pd.DataFrame = binding.call("table", TABLES, name, load, options)
    return table


def checks(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return checks from a result (name, ok, fact, optionally state) as an HTML table."""
    rows = [(markup.mark(state_of(d)), str(d.get("name", "")), _reasons(d)) for d in documents]
    return markup.table(pd.DataFrame(rows, columns=["", "check", "fact"])) if rows else "<p>No check was made.</p>"


def _reasons(document: Mapping[str, Any]) -> str:
    fact, why = str(document.get("fact", "")), document.get("why")
    return f"{fact}. Why: {why}" if why else fact


def percentiles(
    records: pd.DataFrame | LargeRecords,
    *,
    by: Sequence[str] = ("phase",),
    start: frames.Start = "intended",
    percentiles: Sequence[str] = PERCENTILES,
    adjusted: bool = False,
) -> pd.DataFrame:
    """Return a row per group: n, errors, each percentile as "612 [588, 655]" in ms, max, slow episodes.

    `adjusted` adds the percentiles of all requests, where each failure counts as +∞.
    """
    if isinstance(records, LargeRecords):
        table = disk.latency(records.folders, tuple(by), start, percentiles, phases=records.phases)
    else:
        table = analysis.latency(records, by=tuple(by), start=start, percentiles=percentiles)
    shown = table[[*by, "n", "errors"]].copy()
    for name in percentiles:
        shown[f"{name}, ms"] = [cell(row, name) for row in table.to_dict("records")]
        if adjusted:
            shown[f"{name} of all"] = [number(v) for v in table[column(name, "adj")]]
    shown["max, ms"] = [number(v) for v in table["max_ms"]]
    shown["slow episodes"] = table["episodes"]
    return _written(shown)


def judgements(
    records: pd.DataFrame,
    *,
    slo: Mapping[str, float],
    error_rate: float | None = None,
    start: frames.Start = "intended",
    invalid: Sequence[str] = (),
) -> pd.DataFrame:
    """Return a row per limit: limit, verdict, reason."""
    judged = analysis.judge(records, Objectives(slo, error_rate=error_rate), start=start, invalid=invalid)
    rows = [(j.name, j.verdict, j.text) for j in judged]
    return pd.DataFrame(rows, columns=["limit", "verdict", "reason"])


def clients(records: pd.DataFrame, *, by: str = "phase", order: Sequence[str] = ()) -> pd.DataFrame:
    """Return a row per form of the client: success, latency, hits, upstream calls, cost."""
    table = variants(records, by).set_index(by, drop=False)
    table = table.loc[[name for name in order if name in table.index] or list(table.index)]
    shown = pd.DataFrame({by: table[by].to_numpy(), "requests": table["requests"].to_numpy()})
    shown["succeeded"] = [percent(v) for v in table["success_rate"]]
    for name in ("p50", "p95", "p99"):
        shown[f"{name}, ms"] = [cell(row, name) for row in table.to_dict("records")]
    shown["from cache"] = [percent(v) for v in table["hit_rate"]]
    shown["upstream calls"] = table["upstream_calls"].to_numpy()
    shown["cost, USD"] = [number(v) for v in table["cost_usd"]]
    return _written(shown)


def rates(
    records: pd.DataFrame, *, by: str = "", slices: int = 12, limits_ms: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Return a row per offered rate: successes, error rate, percentiles; with limits and `by`, the goodput as well."""
    table = capacity.rates(records, by, slices)
    shown = pd.DataFrame({"offered, /s": [number(v) for v in table["rate_rps"]]})
    if len(table):
        shown["succeeded, /s"] = [number(v) for v in table["success_rps"]]
        shown["failed"] = [percent(v) for v in table["error_rate"]]
        if limits_ms and by:
            good = analysis.goodput(records, limits_ms, by=(by,)).set_index(by).reindex(table[by])
            what = "good streams" if {"ttft", "tpot"} & limits_ms.keys() else "good"
            shown[what] = [percent(v) for v in good["share"]]
            shown[f"{what}, /s"] = [number(v) for v in good["rps"]]
        for name in ("p50", "p95", "p99"):
            shown[f"{name}, ms"] = [cell(row, name) for row in table.to_dict("records")]
    return shown


def levels(
    records: pd.DataFrame,
    *,
    apdex_ms: float,
    limit_ms: float,
    error_rate: float,
    by: Sequence[str] = ("phase",),
) -> pd.DataFrame:
    """Return a row per group: requests, Apdex, share and rate within the limit, error budget spent."""
    table = analysis.levels(records, apdex_ms=apdex_ms, limit_ms=limit_ms, error_rate=error_rate, by=tuple(by))
    shown = table[list(by)].copy()
    shown["requests"] = table["n"]
    shown[f"Apdex at {number(apdex_ms)} ms"] = [f"{v:.2f}" if v == v else "n/a" for v in table["apdex"]]
    shown[f"within {number(limit_ms)} ms"] = [percent(v) for v in table["within"]]
    shown["within it, /s"] = [number(v) for v in table["within_rps"]]
    shown[f"of {percent(error_rate)} error budget spent"] = [percent(v) for v in table["budget_spent"]]
    return _written(shown)


def comparison(
    records: pd.DataFrame, *, by: str = "colour", a: str = "blue", b: str = "green", metrics: Sequence[str] = ()
) -> pd.DataFrame:
    """Return a row per metric: arm `b` relative to arm `a`, with interval, p-value and verdict."""
    table = analysis.compare(*beside(records, by, a, b), metrics=metrics or None).table
    return compared(table, f"{b} over {a}")


def compared(table: pd.DataFrame, title: str = "effect") -> pd.DataFrame:
    """Return the table of a comparison as text: effects as ratios with intervals, that of errors as a difference."""
    rows = []
    for row in table.to_dict("records"):
        write = percent if row["metric"] == "errors" else number
        interval = f"[{write(row['ratio_lo'])}, {write(row['ratio_hi'])}]"
        name = f"{row['metric']} (primary)" if row["primary"] else row["metric"]
        rows.append((name, row["windows"], f"{write(row['ratio'])} {interval}", row["p_adjusted"], row["verdict"]))
    return _written(pd.DataFrame(rows, columns=["metric", "windows", title, "p, adjusted", "verdict"]))


def coverage(coverage: pd.DataFrame) -> pd.DataFrame:
    """Return `analysis.study.coverage` as text: how often the 95 % interval of p99 contains the true value."""
    shown = coverage[["world", "n"]].copy()
    shown["slow episodes, median"] = coverage["episodes"].astype("int64")
    for name, title in COVERED.items():
        shown[title] = [percent(v) for v in coverage[name]]
    return _written(shown)


COVERED: Final = {
    "covered": "contains the truth",
    "reliable": "runs with 8 slow episodes",
    "covered_reliable": "of these contain the truth",
    "textbook": "textbook interval",
}


def benchmark(cells: pd.DataFrame) -> pd.DataFrame:
    """Return a row per point of a benchmark's grid: the median of each figure over its repeats."""
    table = answers.points(cells)
    shown = table[["target", "level", "input_tokens", "output_tokens", "repeats"]].copy()
    shown["requests"], shown["failed"] = table["n"], table["errors"]
    for measure, title in (("ttft", "TTFT"), ("tpot", "TPOT"), ("latency", "end to end")):
        for name in ("p50", "p99"):
            shown[f"{title} {name}, ms"] = table[f"{measure}_{name}_ms"]
    shown["tokens/s per user"], shown["tokens/s"] = table["tokens_per_s_user"], table["tokens_per_s"]
    shown["good"] = [percent(share) if share == share else "n/a" for share in table["good_share"]]
    shown["USD per million tokens"] = table["usd_per_million_tokens"]
    return _written(shown)


def choice(choice: pd.DataFrame) -> pd.DataFrame:
    """Return the load to run each target at as text, by lengths: goodput, price, and replicas for the demand."""
    shown = choice[["target", "input_tokens", "output_tokens"]].rename(
        columns={"input_tokens": "tokens in", "output_tokens": "tokens out"}
    )
    shown["load"] = [number(level) if level == level else "none is good enough" for level in choice["level"]]
    shown["good requests/s"], shown["USD per million tokens"] = choice["goodput_rps"], choice["usd_per_million_tokens"]
    shown["good"] = [percent(share) if share == share else "n/a" for share in choice["good_share"]]
    shown["replicas"] = [number(count) if count else "n/a" for count in choice["replicas"]]
    shown["USD per hour"] = choice["usd_per_hour"]
    return _written(shown)


def contrast(contrast: pd.DataFrame) -> pd.DataFrame:
    """Return the comparison of two targets as text: a row per figure, with the ratio and its interval."""
    table = contrast.assign(windows=contrast["pairs"])
    return compared(table, "ratio").rename(columns={"windows": "pairs"})


def frame(frame: pd.DataFrame, *, columns: Sequence[str] = (), rows: int = 50) -> pd.DataFrame:
    """Return the first `rows` of a stored frame, its numbers as text."""
    return _written(frame[list(columns)] if columns else frame).head(rows)


def _written(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table` as text: whole numbers with separators, others with three digits, unknown ones as "n/a"."""
    return pd.DataFrame({name: [_text(v) for v in table[name]] for name in table.columns})


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value)
    return "" if value is None else str(value)


TABLES: Final[Mapping[str, Callable[..., pd.DataFrame]]] = types.MappingProxyType(
    {
        "benchmark": benchmark,
        "choice": choice,
        "clients": clients,
        "comparison": comparison,
        "contrast": contrast,
        "coverage": coverage,
        "frame": frame,
        "goodput": goodput,
        "judgements": judgements,
        "levels": levels,
        "percentiles": percentiles,
        "rates": rates,
        "streams": streams,
        "tokens": tokens,
    }
)
LARGE: Final = frozenset({"goodput", "percentiles", "streams"})
"""Those that are made from disk when there are too many records to load."""
