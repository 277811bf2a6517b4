"""Probe a service that is not tailrace's, through the edge: its own retries, and its own cache, if it has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
import pandas as pd

from tailrace import request_headers
from tailrace.host.http import FAILURES, exchange
from tailrace.profile import Probe
from tailrace.records import HIT
from tailrace.testbed import client_probe, users
from tailrace.testbed.stack import Stack

TIMEOUT_S: Final = 30.0
"""The longest that the service may try, for one request."""
QUESTIONS: Final = {
    "one question": [{"role": "user", "content": "What is a tailrace?"}],
    "another question": [{"role": "user", "content": "What is a headrace?"}],
    "another role": [{"role": "system", "content": "What is a tailrace?"}, {"role": "user", "content": "Tell me."}],
    "a longer conversation": [
        {"role": "user", "content": "What is a headrace?"},
        {"role": "assistant", "content": "It leads the water to the wheel."},
        {"role": "user", "content": "What is a tailrace?"},
    ],
}


@dataclass(frozen=True)
class Outage:
    """What a service did while its provider answered nothing but 503."""

    requests: int
    """That were sent to the service."""
    provider_requests: int
    """That the service made of them."""


def outage(stack: Stack, requests: int = 10) -> Outage:
    """Send different questions to the service, one after the other, while its provider answers 503 to each."""
    with stack.provider.broken({"kind": "outage"}):
        before = _asked(stack)
        for number in range(requests):
            _answer(stack, users.chat_probe(stack.profile, f"Question {number} in an outage"))
        return Outage(requests, _asked(stack) - before)


def cached_answers(stack: Stack) -> pd.DataFrame:
    """Ask the service different questions twice each; return a row per answer, as `client_probe.cached_answers` does.

    It was a hit when the provider was not asked. The simulator's answer depends on the messages: a first answer that
    another question got, too, is wrong, and so is a second one that differs from the first.
    """
    rows: list[tuple[str, int, str, str, str]] = []
    for time in (1, 2):
        for name, messages in QUESTIONS.items():
            before = _asked(stack)
            answer = _answer(stack, users.chat_probe(stack.profile, "", messages=messages, temperature=0))
            rows.append((name, time, HIT if _asked(stack) == before else "miss", answer, ""))
    answers = pd.DataFrame(rows, columns=client_probe.COLUMNS)
    first = answers[answers["time"] == 1].set_index("question")["answer"]
    own = first.where(~first.duplicated(keep=False) & (first != ""), "no answer of its own")
    answers["uncached_answer"] = answers["question"].map(own)
    return answers


def _asked(stack: Stack) -> int:
    """Return the completions that the provider was asked for: a service may also look whether it is there."""
    by_path: dict[str, int] = stack.provider.stats()["by_path"]
    return sum(count for path, count in by_path.items() if path.endswith(("/completions", "/responses")))


def _answer(stack: Stack, question: Probe) -> str:
    """Return the text of the service's answer; "" when there is none."""
    body = orjson.dumps(question.json_body)
    headers = {"content-type": "application/json", **request_headers.filled(question.headers)}
    try:
        answer = exchange(stack.deployment.probe_url + question.path, "POST", body, headers, TIMEOUT_S)
        document: dict[str, Any] = orjson.loads(answer.body)
        return str(document["choices"][0]["message"]["content"] or "")
    except (*FAILURES, ValueError, LookupError, TypeError):
        return ""
