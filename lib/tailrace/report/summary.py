"""The headline of a page: the run in a few sentences."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tailrace.numbers import number
from tailrace.verdict import FAIL, INCONCLUSIVE, PASS, SKIPPED, Verdict, parse, state_of

OBJECTIVE: Final = re.compile(
    r"(?P<measure>(?:(?:TTFT|TPOT|ITL) )?)p(?P<percent>\d+(?:\.\d+)?) within |\S+ % of requests within "
)
"""The name of a check of an objective: of a percentile, or (no measure) of goodput."""


def verdict_of(run: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a run; one that never finished is INCONCLUSIVE."""
    return parse(run.get("verdict")) or INCONCLUSIVE


def headline(run: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the sentences that a reader needs first: failures, the switch, the percentiles, the checks."""
    sentences = []
    if not run:
        sentences.append("This folder has no run.json: the run did not finish.")
    elif not run.get("verdict"):
        sentences.append("The run has not finished.")
    if run.get("reason"):
        reason = str(run["reason"]).rstrip(".")
        sentences.append(f"{reason[:1].upper()}{reason[1:]}.")
    for result in results.values():
        switch = result.get("switch")
        if isinstance(switch, Mapping) and isinstance(switch.get("requests"), int):
            sentences.append(
                f"{switch['requests']:,} requests through a blue‑green switch: "
                f"{_count(switch.get('failed'))} failed, {_count(switch.get('unexplained'))} unexplained."
            )
            sentences += _bill(switch)
    if tail := _tail(results):
        sentences.append(tail)
    for result in results.values():
        if isinstance(deviations := result.get("token_deviations"), list) and deviations:
            sentences.append(f"Beware: {', and '.join(map(str, deviations))}.")
    unfinished = [name for name, result in results.items() if not result.get("verdict")]
    if unfinished and run.get("verdict"):
        sentences.append(f"{len(unfinished)} of {len(results)} steps did not finish.")
    return [*sentences, _checks(run, results)]


def _bill(switch: Mapping[str, Any]) -> list[str]:
    """Return one sentence on the cost of the requests; empty when it is not known."""
    cost_usd, unpriced = switch.get("cost_usd"), switch.get("unpriced") or 0
    if not isinstance(cost_usd, int | float):
        return []
    but = f" ({unpriced:,} have no known price)" if unpriced else ""
    return [
        f"At list prices they cost ${number(cost_usd)}{but}; {_count(switch.get('from_cache'))} came from the cache."
    ]


def _tail(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the fact of the highest percentile of each measure, and of goodput, as one sentence."""
    highest: dict[str | None, tuple[float, str]] = {}
    for check in (check for result in results.values() for check in result.get("checks") or []):
        if match := OBJECTIVE.match(str(check.get("name"))):
            found = float(match["percent"] or 0), str(check.get("fact")).partition(";")[0]
            highest[match["measure"]] = max(found, highest.get(match["measure"], found), key=lambda one: one[0])
    return f"{', '.join(fact for _, fact in highest.values())}." if highest else ""


def _checks(run: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> str:
    documents = [c for r in results.values() for c in r.get("checks") or []] + list(run.get("checks") or [])
    states = [state_of(document) for document in documents]
    if not states:
        return "No check was made."
    failed, passed, open_ = states.count(FAIL), states.count(PASS), states.count(INCONCLUSIVE)
    parts = [f"{passed} of {len(states) - states.count(SKIPPED)} checks passed"]
    if failed:
        names = [str(d.get("name")) for d, s in zip(documents, states, strict=True) if s == FAIL]
        parts.append(f"{failed} failed ({', '.join(names[:3])}{', …' if failed > 3 else ''})")
    if open_:
        parts.append(f"{open_} without enough data")
    return ", ".join(parts) + "."


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "an unknown number"
