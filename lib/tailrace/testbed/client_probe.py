"""Probe the client: which answers its cache gives to variations of one question, and which input it rejects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tailrace.headers import CACHE

if TYPE_CHECKING:
    import pandas as pd

    from tailrace.client import Memory, OpenAI

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
COLUMNS: Final = ["question", "time", "cache", "answer", "uncached_answer"]


def cached_answers(url: str) -> pd.DataFrame:
    """Ask each variation of one question twice through one cache, and once by a client without a cache.

    Return a row per answer: question, time (1 or 2), cache ("hit", "miss" …), answer, uncached_answer. The last row
    is the question itself from somebody with another credential. The simulator's answer depends on the whole request
    and on who asks, so an answer to another question shows.
    """
    import pandas as pd

    from tailrace.client import Memory

    rows: list[tuple[str, int, str, str, str]] = []
    store = Memory()
    with _client(url, store) as cached, _client(url, None) as uncached:
        for name, changes in {"the question itself": {}, **VARIATIONS}.items():
            question = {**QUESTION, **changes}
            expected, _ = _answer(uncached, question)
            for time in (1, 2):
                answer, cache = _answer(cached, question)
                rows.append((name, time, cache, answer, expected))
    with _client(url, store, key="another") as cached, _client(url, None, key="another") as uncached:
        answer, cache = _answer(cached, QUESTION)
        rows.append(("another credential", 1, cache, answer, _answer(uncached, QUESTION)[0]))
    return pd.DataFrame(rows, columns=COLUMNS)


def rejected_input(url: str) -> dict[str, bool]:
    """Send input that must not be sent; return for each kind whether the client rejected it before it left."""
    import openai

    from tailrace.client import InputRejected

    rejected = dict.fromkeys(BAD_INPUT, False)
    with _client(url, None) as client:
        for name, messages in BAD_INPUT.items():
            try:
                client.chat.completions.create(model="gpt-4o-mini", messages=messages)  # type: ignore[arg-type]
            except openai.APIError as error:
                rejected[name] = isinstance(error, InputRejected)
    return rejected


def _client(url: str, store: Memory | None, key: str = "simulated") -> OpenAI:
    from tailrace.client import Cache, OpenAI, Policy

    policy = Policy(cache=None if store is None else Cache(store=store), retry=None)
    return OpenAI(policy=policy, base_url=url, api_key=key)


def _answer(client: OpenAI, question: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of the answer, and what the cache had to do with it."""
    raw = client.chat.completions.with_raw_response.create(**question)
    return raw.http_response.text, raw.headers.get(CACHE, "")
