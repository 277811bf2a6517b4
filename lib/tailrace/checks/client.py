"""Does the client keep its promises: the cache its own question's answer, retries their bounds, input its limits?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import openai
import pandas as pd

from tailrace.client import Cache, Memory, OpenAI, Policy, Retry
from tailrace.headers import CACHE
from tailrace.records import ERROR, HIT
from tailrace.verdict import Check

QUESTION: Final[dict[str, Any]] = {
    "model": "gpt-4o-mini",
    "temperature": 0,
    "messages": [{"role": "user", "content": "What is a tailrace?"}],
}
VARIATIONS: Final[Mapping[str, dict[str, Any]]] = {
    "another prompt": {"messages": [{"role": "user", "content": "What is a headrace?"}]},
    "another role": {"messages": [{"role": "system", "content": "What is a tailrace?"}]},
    "another model": {"model": "gpt-4o"},
    "another limit": {"max_tokens": 500},
    "another top_p": {"top_p": 0.5},
    "another seed": {"seed": 2},
    "another stop": {"stop": ["mill"]},
    "another user": {"user": "somebody else"},
    "a response format": {"response_format": {"type": "json_object"}},
    "a parameter that nobody knows": {"extra_body": {"top_k": 50}},
}
BAD_INPUT: Final[Mapping[str, list[dict[str, str]]]] = {
    "an unknown role": [{"role": "wizard", "content": "hello"}],
    "a control character": [{"role": "user", "content": "hello\x00"}],
    "a bidirectional override": [{"role": "user", "content": "hello \u202e"}],
    "too large": [{"role": "user", "content": "x" * (9 << 20)}],
}


def cache(url: str) -> list[Check]:
    """Ask variations of one question through one cache, and hold each answer against one that was not cached.

    The simulator's answer depends on the whole request and on who asks, so a wrong hit shows.
    """
    wrong, hits = [], 0
    store = Memory()
    with _asker(url, store) as cached, _asker(url, None) as plain:
        for name, changes in {"the question itself": {}, **VARIATIONS}.items():
            asked = {**QUESTION, **changes}
            right = _answer(plain, asked)[0]
            first, again = _answer(cached, asked), _answer(cached, asked)
            hits += again[1] == HIT
            wrong += [name] if (first[0], again[0]) != (right, right) or first[1] == HIT else []
    with _asker(url, store, key="another") as other, _asker(url, None, key="another") as plain:
        mine, how = _answer(other, QUESTION)
        wrong += ["another credential"] if mine != _answer(plain, QUESTION)[0] or how == HIT else []
    asked_n = len(VARIATIONS) + 1
    fact = f"{asked_n + 1} questions that differ in one thing each, {len(wrong)} answered wrongly"
    return [
        Check("the cache is correct", not wrong, fact + (f": {', '.join(wrong)}" if wrong else "")),
        Check("the cache answers", hits == asked_n, f"{hits} of {asked_n} repeated questions were hits"),
    ]


def retries(records: pd.DataFrame, arms: Sequence[str], allowed: Retry) -> Check:
    """Decide whether retries kept both bounds: attempts per call, and a share of all calls."""
    asked = records[records["phase"].isin(arms) & (records["attempts"] > 0)]
    if asked.empty:
        return Check("retries are bounded", None, "no request was recorded")
    most, extra = int(asked["attempts"].max()), int((asked["attempts"] - 1).sum())
    limit = math.inf if allowed.budget is None else len(arms) * allowed.budget_burst + allowed.budget * len(asked)
    fact = (
        f"at most {most} attempts per call (limit {allowed.attempts}); {extra:,} retries for {len(asked):,} calls "
        f"(limit {limit:,.0f}: {allowed.budget:.0%} of them, and {allowed.budget_burst} per client to start with)"
    )
    return Check("retries are bounded", most <= allowed.attempts and extra <= limit, fact)


def worth(records: pd.DataFrame, better: str, worse: str) -> Check:
    """Decide whether one form of the client failed less than another under the same faults."""
    name = f"the client “{better}” fails less than “{worse}”"
    counts = [records[records["phase"] == arm]["outcome"].eq(ERROR) for arm in (better, worse)]
    (few, many), (n, m) = [int(c.sum()) for c in counts], [len(c) for c in counts]
    fact = f"{few:,} of {n:,} failed, against {many:,} of {m:,}"
    return Check(name, None if not (n and m and many) else few / n < many / m, fact)


def counted(records: pd.DataFrame, provider_requests: int) -> Check:
    """Decide whether the attempts on record are the requests that the provider itself counted."""
    made = int(records["attempts"].sum())
    fact = f"{made:,} attempts on record, {provider_requests:,} requests at the provider"
    return Check("client and provider counted the same", made == provider_requests, fact)


def refusals(url: str) -> Check:
    """Send input that must not be sent, and see whether it is refused before it leaves."""
    accepted = []
    with _asker(url, None) as client:
        for name, messages in BAD_INPUT.items():
            try:
                client.chat.completions.create(model="gpt-4o-mini", messages=messages)  # type: ignore[arg-type]
            except openai.APIError as error:
                if type(error).__name__ == "InputRejected":
                    continue
            accepted.append(name)
    fact = f"{len(BAD_INPUT) - len(accepted)} of {len(BAD_INPUT)} kinds were refused with what and where"
    return Check("bad input is refused", not accepted, fact + (f"; sent on: {', '.join(accepted)}" if accepted else ""))


def _asker(url: str, store: Memory | None, key: str = "simulated") -> OpenAI:
    policy = Policy(cache=None if store is None else Cache(store=store), retry=None)
    return OpenAI(policy=policy, base_url=url, api_key=key)


def _answer(client: OpenAI, asked: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of the answer, and how it was come by."""
    raw = client.chat.completions.with_raw_response.create(**asked)
    return raw.http_response.text, raw.headers.get(CACHE, "")
