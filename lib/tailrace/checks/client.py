"""Does the client keep its promises: a cache that answers only its own question, bounded retries, validated input?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from tailrace.records import ERROR, HIT
from tailrace.verdict import Check

if TYPE_CHECKING:
    import pandas as pd

    from tailrace.client import Retry


class Outage(Protocol):
    """The requests that a service got while its provider answered 503, and what it sent to that."""

    @property
    def requests(self) -> int: ...

    @property
    def provider_requests(self) -> int: ...


def cache(answers: pd.DataFrame, untested: str = "") -> list[Check]:
    """Decide whether a cache gave the right answer to each question, and answered repeated ones itself.

    `answers` has a row per answer: question, time (1 or 2), cache, answer, uncached_answer. `untested` says why nothing
    was asked.
    """
    if untested:
        return [Check.skip("the cache is correct", untested)]
    if answers.empty:
        return [Check(name, None, "no question was asked") for name in ("the cache is correct", "the cache is used")]
    first = answers["time"] == 1
    wrong = (answers["answer"] != answers["uncached_answer"]) | (first & (answers["cache"] == HIT))
    names = list(dict.fromkeys(answers.loc[wrong, "question"]))
    questions = answers["question"].nunique()
    fact = f"{questions} questions that differ in one thing each, {len(names)} answered wrongly"
    repeated = answers[~first]
    hits = int((repeated["cache"] == HIT).sum())
    return [
        Check("the cache is correct", not names, fact + (f": {', '.join(names)}" if names else "")),
        Check("the cache is used", hits == len(repeated), f"{hits} of {len(repeated)} repeated questions were hits"),
    ]


def retries(records: pd.DataFrame, forms: Sequence[str], policy: Retry, whose: str = "", untested: str = "") -> Check:
    """Decide whether these forms of the client kept both bounds on retries: per call, and as a share of all calls.

    `whose` begins the name of the check, when the client is not a part of the service.
    """
    name = f"{whose}retries are bounded"
    if untested:
        return Check.skip(name, untested)
    calls = records[records["phase"].isin(forms) & (records["attempts"] > 0)]
    if calls.empty:
        return Check(name, None, "no request was recorded")
    most, extra = int(calls["attempts"].max()), int((calls["attempts"] - 1).sum())
    limit, why = math.inf, "no retry budget is set"
    if policy.budget is not None:
        limit = len(forms) * policy.budget_burst + policy.budget * len(calls)
        why = f"limit {limit:,.0f}: {policy.budget:.0%} of them, and {policy.budget_burst} per client to start with"
    fact = (
        f"at most {most} attempts per call (limit {policy.attempts}); {extra:,} retries in {len(calls):,} calls ({why})"
    )
    return Check(name, most <= policy.attempts and extra <= limit, fact)


def service_retries(outage: Outage | None, untested: str = "", limit: float = 5.0) -> list[Check]:
    """Decide whether a service asked its provider at most `limit` times for each request, while that answered 503.

    Without an outage there is nothing to decide, and no check unless `untested` says why.
    """
    name = "retries are bounded"
    if outage is None:
        return [Check.skip(name, untested)] if untested else []
    each = outage.provider_requests / outage.requests
    fact = f"{each:.1f} requests to the provider for each of {outage.requests} in an outage (limit {limit:g})"
    return [Check(name, each <= limit if outage.provider_requests else None, fact)]


def fails_less(records: pd.DataFrame, better: str, worse: str, untested: str = "", may_hide: bool = False) -> Check:
    """Decide whether one form of the client failed less than another under the same faults.

    A service between them and the provider `may_hide` all faults: then there is nothing to decide.
    """
    if untested:
        return Check.skip(f"the client “{better}” fails less than “{worse}”", untested)
    counts = [records[records["phase"] == form]["outcome"].eq(ERROR) for form in (better, worse)]
    (few, many), (n, m) = [int(c.sum()) for c in counts], [len(c) for c in counts]
    fact = f"{few:,} of {n:,} failed, against {many:,} of {m:,}"
    ok = None if not (n and m and many) else few / n < many / m
    if may_hide and n and m and not many and not few:
        return Check.skip(f"the client “{better}” fails less than “{worse}”", f"{fact}: the service hid all faults")
    return Check(f"the client “{better}” fails less than “{worse}”", ok, fact)


def attempts_counted(records: pd.DataFrame, requests: int, counter: str = "provider") -> Check:
    """Decide whether the attempts on record are the requests that the provider, or the edge, itself counted."""
    attempts = int(records["attempts"].sum())
    fact = f"{attempts:,} attempts on record, {requests:,} requests at the {counter}"
    return Check(f"client and {counter} counted the same", attempts == requests, fact)


def rejections(rejected: Mapping[str, bool], untested: str = "") -> Check:
    """Decide whether each kind of bad input was rejected before it was sent; `untested` says why none was."""
    if untested:
        return Check.skip("bad input is refused", untested)
    sent = [kind for kind, stopped in rejected.items() if not stopped]
    fact = f"{len(rejected) - len(sent)} of {len(rejected)} kinds were refused, with what is wrong and where"
    ok = not sent if rejected else None
    return Check("bad input is refused", ok, fact + (f"; sent on: {', '.join(sent)}" if sent else ""))
