"""The summary of a load as text: one screen, as wide as the terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from tailrace import percentiles
from tailrace.numbers import number, percent

_INDENT: Final = " " * 10
_LABEL: Final = 15
_LABEL_AT_MOST: Final = 28
_CELL: Final = 8
_COUNTS: Final = 9 + 7  # n and errors
_INTERVAL: Final = 20
_COLUMNS: Final = {"p50": 0, "p99": 0, "p95": 1, "max": 2, "p90": 3, "p99.9": 4}
"""The columns of a table, by when they are left out on a narrow terminal: the highest first."""
_TITLES: Final = {"ttft": "TTFT", "tpot": "TPOT", "itl": "ITL"}


def summary(document: dict[str, Any], width: int = 100) -> str:
    """Return the summary as text, no line of its tables wider than `width` (at least 80)."""
    return "\n".join([*_head(document), *_times(document, max(80, width)), *_foot(document)])


def wrapped(text: str, width: int) -> str:
    """Return the text with lines that are wider than `width` folded, the rest of a line indented."""
    lines = text.splitlines() or [""]
    return "\n".join(textwrap.fill(one, width, subsequent_indent=_INDENT) if len(one) > width else one for one in lines)


def _head(document: dict[str, Any]) -> Iterator[str]:
    rate = f"{_figure(document['achieved_rps'])} of {_figure(document['intended_rps'])} requests/s"
    yield f"{document['loop']} loop · {rate} · generator lag p99 {_figure(document['send_lag_p99_ms'])} ms"
    if document.get("floor"):
        yield document["floor"]["text"]
    yield from (f"INVALID: {reason}" for reason in document["reasons"])
    if document["errors_by_type"]:
        yield "errors: " + ", ".join(f"{kind} {n:,}" for kind, n in document["errors_by_type"].items())
    if found := document.get("why"):
        yield f"why: {found['text']}"


def _times(document: dict[str, Any], width: int) -> Iterator[str]:
    """Yield the table of times: all requests by measure and start, then the latency and TTFT of each other group."""
    table = _Table.of(width)
    yield ""
    yield table.heading
    by_start = {row["from"]: row for row in document["groups"] if row["group"] == "all"}
    intended, sent = by_start["intended"], by_start["sent"]
    yield table.line("latency", intended)
    yield table.line("  from sent", sent)
    if "ttft" in intended:
        yield table.line("TTFT", intended["ttft"])
        yield table.line("  from sent", sent["ttft"])
    yield from (table.line(_TITLES[name], intended[name]) for name in ("tpot", "itl") if name in intended)
    for row in document["groups"]:
        if row["group"] != "all" and row["from"] == "intended":
            yield table.line(row["group"], row)
            if "ttft" in row:
                yield table.line("  TTFT", row["ttft"])
    for column, n in document.get("left_out", {}).items():
        yield f"left out  {n:,} further values of {column}: the most frequent are shown"


def _foot(document: dict[str, Any]) -> Iterator[str]:
    """Yield what is counted: tokens, the deviation from the plan, prefixes, sessions and good requests."""
    tokens = document["groups"][0]["tokens"]
    if tokens["in_tok"] or tokens["out_tok"]:
        yield f"\ntokens    {_amounts(tokens)}"
    if tokens["out_tok"]:
        yield f"tokens/s  {_speeds(tokens, document['groups'][0])}"
    if plan := _plan(tokens):
        yield f"plan      {plan}"
    yield from (f"DEVIATES: {text}" for text in document["deviations"])
    if tokens["prefix_share"]:
        cached = tokens["cached_share"]
        yield f"prefix    {percent(tokens['prefix_share'])} of the planned tokens in were sent before" + (
            f"; the server had {percent(cached)} in its cache" if cached else ""
        )
    if document.get("sessions"):
        yield f"sessions  {_sessions(document['sessions'])}"
    if good := document.get("goodput"):
        yield f"goodput   {_goodput(good)}"
    if server := document.get("server"):
        yield f"server    {server['text']}"


def _amounts(tokens: dict[str, Any]) -> str:
    reasoning = f" ({tokens['reasoning_tok']:,} of them reasoning)" if tokens["reasoning_tok"] else ""
    uncounted = f"; {tokens['uncounted']:,} answers without a count" if tokens["uncounted"] else ""
    return f"{tokens['in_tok']:,} in, {tokens['out_tok']:,} out{reasoning}, of {tokens['n']:,} answers{uncounted}"


def _speeds(tokens: dict[str, Any], group: dict[str, Any]) -> str:
    """Return the tokens out per second, of all and of one user (the median stream), with their intervals."""
    ends = (tokens["per_s_lo"], tokens["per_s_hi"])
    interval = "" if ends[0] is None else f" [{_figure(ends[0])}, {_figure(ends[1])}]"
    in_all = f"{_figure(tokens['per_s'])}{interval} in all (n = {tokens['n']:,})"
    if tokens["per_user_s"] is None:
        return in_all
    interval = f"[{_figure(tokens['per_user_s_lo'])}, {_figure(tokens['per_user_s_hi'])}]"
    return f"{in_all}; {_figure(tokens['per_user_s'])} {interval} for one user (n = {group['tpot']['n']:,})"


def _plan(tokens: dict[str, Any]) -> str:
    parts = [
        f"{tokens[f'{name}_tok']:,} {name} counted, {tokens[f'planned_{name}_tok']:,} planned "
        f"({tokens[f'{name}_deviation']:+.1%})"
        for name in ("in", "out")
        if tokens[f"{name}_deviation"] is not None
    ]
    return "; ".join(parts)


def _sessions(counts: dict[str, int]) -> str:
    parts = [f"{counts['begun']:,} begun, {counts['complete']:,} complete"]
    for kind, turns, reason in (
        ("failed", "turns_after_failure", "ended by a turn that failed"),
        ("unfinished", "turns_after_end", "by the end of the schedule"),
    ):
        if counts[kind]:
            parts.append(f"{counts[kind]:,} {reason} ({counts[turns]:,} turns not sent)")
    return "; ".join(parts)


def _goodput(good: dict[str, Any]) -> str:
    if not good["n"]:
        return "n/a: no request that the limits are for"
    interval = f"[{percent(good['share_lo'])}, {percent(good['share_hi'])}]"
    return f"{good['good']:,} of {good['n']:,} good, {percent(good['share'])} {interval}; {_figure(good['rps'])}/s"


@dataclass(frozen=True)
class _Table:
    """The columns for which there is room, in the order of their percentiles, and the width of the labels."""

    names: tuple[str, ...]
    label: int

    @classmethod
    def of(cls, width: int) -> _Table:
        room, rest = divmod(width - _LABEL - _COUNTS - _INTERVAL, _CELL)
        chosen = sorted(_COLUMNS, key=lambda name: _COLUMNS[name])[:room]
        rest += _CELL * (room - len(chosen))
        names = tuple(name for name in (*percentiles.PERCENTILES, "max") if name in chosen)
        return cls(names, min(_LABEL_AT_MOST, _LABEL + rest))

    @property
    def heading(self) -> str:
        cells = "".join(f"{name:>{_CELL}}" for name in self.names)
        return f"{'ms':<{self.label}}{'n':>9}{'errors':>7}{cells}{'95 % interval':>{_INTERVAL}}"

    def line(self, label: str, row: dict[str, Any]) -> str:
        cells = "".join(f"{_figure(row[_key(name)]):>{_CELL}}" for name in self.names)
        shown = label if len(label) < self.label else f"{label[: self.label - 2]}…"
        return f"{shown:<{self.label}}{row['n']:>9,}{row['errors']:>7,}{cells}{_interval(row):>{_INTERVAL}}"


def _interval(row: dict[str, Any]) -> str:
    """Return the interval of p99 or, where n is too small for it, of the highest percentile that has one."""
    for name in ("p99", "p95", "p90", "p50"):
        low, high = (row[percentiles.column(name, end)] for end in ("lo", "hi"))
        if low is not None:
            return f"{name} [{_figure(low)}, {_figure(high)}]"
    return ""


def _key(name: str) -> str:
    return "max_ms" if name == "max" else percentiles.column(name)


def _figure(value: float | None) -> str:
    return "n/a" if value is None or math.isnan(value) else number(value)
