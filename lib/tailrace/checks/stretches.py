"""Who failed requests in each stretch of a switch, by the client's records and by the edge's counters.

The release that a step breaks on purpose may fail requests from its switch on. Nobody else may, at any time: not the
old colour before the new one has any traffic, and not the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pandas as pd

from tailrace.analysis import frames
from tailrace.deploy.account import Stretch
from tailrace.deploy.edge import other
from tailrace.deploy.outcome import DeployOutcome
from tailrace.records import ERROR
from tailrace.verdict import Check

BEFORE, AFTER = "before the deploy", "after it"
TOLD = 4
"""Stretches that a fact names."""


def table(records: pd.DataFrame, outcome: DeployOutcome, about: str) -> pd.DataFrame:
    """Return a row per stretch: requests and failures of the client that were sent in it, and failures by the edge."""
    sent_ns, failed = frames.sent_ns(records), records["outcome"] == ERROR
    counted = {(stretch.begun, stretch.ended): stretch for stretch in outcome.account.stretches}
    rows = []
    for begun, ended, from_ns, until_ns in _stretches(outcome):
        within = (sent_ns >= from_ns) & (sent_ns < until_ns)
        edge = counted.get((begun, ended))
        rows.append(
            {
                "phase": about,
                "from": begun,
                "to": ended,
                "requests": int(within.sum()),
                "failed": int((within & failed).sum()),
                "failed by the edge": edge.refused if edge else None,
                "5xx by blue": edge.by_instance.get("blue", 0) if edge else None,
                "5xx by green": edge.by_instance.get("green", 0) if edge else None,
            }
        )
    columns = ["phase", "from", "to", "requests", "failed", "failed by the edge", "5xx by blue", "5xx by green"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[5:], "Int64"))


def tables(records: pd.DataFrame, outcomes: Mapping[str, DeployOutcome]) -> pd.DataFrame:
    """Return the tables of several phases, one after the other; "–" where the edge was not read."""
    whole = pd.concat([table(records[records["phase"] == phase], outcomes[phase], phase) for phase in outcomes])
    return whole.astype(dict.fromkeys(whole.columns[5:], "string")).fillna("–")


def unharmed(records: pd.DataFrame, outcome: DeployOutcome, about: str) -> list[Check]:
    """Decide whether nobody failed a request in any stretch but a release that was rolled back, from its switch on."""
    names, bad = _names(about), bad_colour(outcome)
    if outcome.result == "skipped":
        return [Check.skip(name, outcome.why) for name in names]
    return [_by_client(names[0], records, outcome, bad), _by_edge(names[1], outcome, bad)]


def bad_colour(outcome: DeployOutcome) -> str:
    """Return the colour that was rolled back; "" when none was, and so none may have failed anything."""
    if outcome.result != "rolled back" or outcome.at("switched") is None:
        return ""
    return other(outcome.to_colour)


def _names(about: str) -> tuple[str, str]:
    return f"{about}: no unexpected failure in any stretch", f"{about}: the edge counted no unexpected failure"


def _by_client(name: str, records: pd.DataFrame, outcome: DeployOutcome, bad: str) -> Check:
    if records.empty:
        return Check(name, None, "no request was sent")
    unexpected = records[(records["outcome"] == ERROR) & ~_expected(records, outcome, bad)]
    if unexpected.empty:
        return Check(name, True, f"0 of {len(records):,} requests, in {len(_stretches(outcome))} stretches")
    sent_ns, hit = frames.sent_ns(unexpected), []
    for begun, ended, from_ns, until_ns in _stretches(outcome):
        within = unexpected[(sent_ns >= from_ns) & (sent_ns < until_ns)]
        if len(within):
            by = [f"{n:,} of {colour or 'no colour'}" for colour, n in within["colour"].value_counts().items()]
            hit.append(f"{len(within):,} {_where(begun, ended)} ({', '.join(by)})")
    return Check(name, False, f"{len(unexpected):,} of {len(records):,} requests failed: {_listed(hit)}")


def _by_edge(name: str, outcome: DeployOutcome, bad: str) -> Check:
    account = outcome.account
    if not account.stretches:
        return Check(name, None, "the edge's counters were not read")
    late = False
    hit = []
    for stretch in account.stretches:
        late = late or stretch.begun == "switched"
        if _unexpected(stretch, bad if late else "") or stretch.restarted:
            hit.append("the edge was started anew" if stretch.restarted else stretch.text)
    whose = f", all on {bad}, the bad release" if bad and account.failed else ""
    fact = f"{account.failed:,} of {account.requests:,} requests failed{whose}"
    return Check(name, not hit, _listed(hit) if hit else fact)


def _unexpected(stretch: Stretch, bad: str) -> int:
    """Return how many failures of `stretch` were not made by, or in the place of, the colour `bad`."""
    edge = sum(count for how, count in stretch.by_edge.items() if not (bad and how.endswith(f"of {bad}")))
    return edge + sum(count for colour, count in stretch.by_instance.items() if colour != bad)


def _expected(records: pd.DataFrame, outcome: DeployOutcome, bad: str) -> pd.Series[bool]:
    """Return which requests may have failed: those that the bad release had, or would have had, while it served."""
    switched, back = outcome.at("switched"), outcome.at("rolling back")
    if not bad or switched is None:
        return pd.Series(False, index=records.index)
    sent_ns, ended_ns = frames.sent_ns(records), frames.ended_ns(records)
    alone = (sent_ns >= switched) & (records["colour"] == "")
    while_it_served = (ended_ns >= switched) & ((sent_ns <= back) if back is not None else True)
    return ((records["colour"] == bad) | alone) & while_it_served


def _stretches(outcome: DeployOutcome) -> list[tuple[str, str, float, float]]:
    """Return each stretch as (from state, to state, from ns, until ns), before the first and after the last, too."""
    reached = [(state, float(t_ns)) for state, t_ns, _ in outcome.states]
    if not reached:
        return [(BEFORE, AFTER, float("-inf"), float("inf"))]
    between = [(begun, ended, a, b) for (begun, a), (ended, b) in pairwise(reached)]
    first, last = reached[0], reached[-1]
    return [(BEFORE, first[0], float("-inf"), first[1]), *between, (last[0], AFTER, last[1], float("inf"))]


def _where(begun: str, ended: str) -> str:
    if begun == BEFORE:
        return begun
    return f"after {begun}" if ended == AFTER else f"between {begun} and {ended}"


def _listed(hit: list[str]) -> str:
    return "; ".join(hit[:TOLD]) + (f"; and {len(hit) - TOLD} stretches more" if len(hit) > TOLD else "")
