"""Do the health checks tell the truth? Each turns red when the thing that it watches is broken, and recovers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from tailrace.deploy import Observation
from tailrace.verdict import Check

GREEN: Final = True
RED: Final = False
EITHER: Final = None
"""The service may turn red or not; it has to be green after the repair."""
COLUMNS: Final = ["t_ns", "probe", "ok", "status", "fact"]


@dataclass(frozen=True)
class Limits:
    """How soon a probe has to notice a fault, and its end, in seconds."""

    notice_s: float = 3.0
    recover_s: float = 5.0


def frame(rows: Iterable[Observation]) -> pd.DataFrame:
    """Return a row per probe sent: t_ns (when it was answered or timed out), probe, ok, status, fact."""
    probes = [(row.t_ns + int(row.duration_s * 1e9), row.kind, row.ok, row.status, row.fact) for row in rows]
    return pd.DataFrame(probes, columns=COLUMNS)


def slow_start(startup: Observation, held_s: float, limit_s: float) -> Check:
    """Decide whether a start that was held up for `held_s` was waited for: neither given up nor taken for ready."""
    name = "a slow start is waited for"
    if not startup.ok:
        return Check(name, False, startup.fact)
    waited_s = startup.duration_s
    fact = f"held for {held_s:g} s; its startup check turned green after {waited_s:.1f} s (limit {limit_s:g} s)"
    return Check(name, waited_s >= held_s, fact)


def probes(
    rows: pd.DataFrame,
    marks: pd.DataFrame,
    expected: Mapping[str, Mapping[str, bool | None]],
    skipped: Mapping[str, str] | None = None,
    limits: Limits | None = None,
) -> list[Check]:
    """Return a check per fault and probe: did the probe react to the fault as expected?

    `rows` has a row per probe sent (t_ns, probe, ok, fact), `marks` one per fault (t_ns, until_ns, label). `expected`
    maps fault → probe → GREEN, RED or EITHER. `skipped` maps faults that were not injected to the reason. Without a
    probe during the fault the check is undecided.
    """
    skipped = skipped or {}
    spans = {mark.label: (int(mark.t_ns), int(mark.until_ns)) for mark in marks.itertuples()}
    return [
        Check.skip(_named(fault, probe, green), skipped[fault])
        if fault in skipped
        else _decided(fault, probe, rows[rows["probe"] == probe], spans.get(fault), green, limits or Limits())
        for fault, probes in expected.items()
        for probe, green in probes.items()
    ]


def _decided(
    fault: str, probe: str, rows: pd.DataFrame, span: tuple[int, int] | None, green: bool | None, limits: Limits
) -> Check:
    name = _named(fault, probe, green)
    if rows.empty:
        return Check.skip(name, f"this profile has no probe {probe!r}")
    if span is None:
        return Check(name, None, "this fault was not injected")
    begin, end = span
    during = rows[(rows["t_ns"] >= begin) & (rows["t_ns"] < end)]
    if during.empty:
        return Check(name, None, "the probe was not sent while the fault lasted")
    after = rows[rows["t_ns"] >= end]
    if green is EITHER:
        return _is_green_again(name, during, after, end, limits)
    return _stayed_green(name, during) if green else _turned_red(name, during, after, begin, end, limits)


def _named(fault: str, probe: str, green: bool | None) -> str:
    if green is EITHER:
        return f"{fault}: {probe} is green again afterwards"
    return f"{fault}: {probe} {'stays green' if green else 'turns red, then green again'}"


def _is_green_again(name: str, during: pd.DataFrame, after: pd.DataFrame, end: int, limits: Limits) -> Check:
    red = during[~during["ok"]]
    meanwhile = f"{len(red)} of {len(during)} probes were red during the fault"
    green = after[after["ok"]]
    if green.empty:
        return Check(name, False, f"{meanwhile}; never green again")
    recovered_s = (int(green.iloc[0]["t_ns"]) - end) / 1e9
    fact = f"{meanwhile}; green {recovered_s:.2f} s after the repair (limit {limits.recover_s:g} s)"
    return Check(name, recovered_s <= limits.recover_s, fact)


def _stayed_green(name: str, during: pd.DataFrame) -> Check:
    red = during[~during["ok"]]
    if red.empty:
        return Check(name, True, f"all {len(during)} probes were green during the fault")
    return Check(name, False, f"{len(red)} of {len(during)} probes were red; the first: {red.iloc[0]['fact']}")


def _turned_red(name: str, during: pd.DataFrame, after: pd.DataFrame, begin: int, end: int, limits: Limits) -> Check:
    red = during[~during["ok"]]
    if red.empty:
        return Check(name, False, f"all {len(during)} probes were green during the fault")
    noticed_s = (int(red.iloc[0]["t_ns"]) - begin) / 1e9
    green = after[after["ok"]]
    if green.empty:
        return Check(name, False, f"red after {noticed_s:.2f} s, and never green again; last: {red.iloc[-1]['fact']}")
    recovered_s = (int(green.iloc[0]["t_ns"]) - end) / 1e9
    in_time = noticed_s <= limits.notice_s and recovered_s <= limits.recover_s
    return Check(
        name,
        in_time,
        f"red after {noticed_s:.2f} s (limit {limits.notice_s:g} s): {red.iloc[0]['fact']}; "
        f"green again {recovered_s:.2f} s after the repair (limit {limits.recover_s:g} s)",
    )
