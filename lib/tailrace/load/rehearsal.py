"""A few requests before a load run, by which the target says how it counts tokens and how it takes lengths.

For each model: a short prompt, a long one, a conversation where the traffic has some, and a check, each with an answer
of 24 tokens. From the counts of the first ones follow tokens a word, and what the chat template adds; the check shows
whether a generated prompt has the length that was planned. A target that refuses a parameter by its name is asked
again without it, or by its other name. They cost what five small requests cost, and are in no record.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from tailrace.host.deadline import set_deadline
from tailrace.load.bodies import Conversation, Prompt
from tailrace.load.counting import AnswerLength, Counting, Target
from tailrace.load.lengths import fixed
from tailrace.load.pool import parse
from tailrace.load.prompts import FRESH, Vocabulary
from tailrace.load.sender import headers_of, tls_context
from tailrace.load.tokenizing import TokenCounter, template_tokens
from tailrace.load.traffic import Traffic
from tailrace.protocol.usage import Usage, usage

ANSWER_TOKENS: Final = 24
WITHIN: Final = 0.02
"""The largest deviation of counted from planned tokens that nothing is said about."""
_SHORT, _LONG, _CHECK = 16, 400, 300
_PLAUSIBLE = (0.25, 20.0)  # tokens a word
_NUMBER = 900_000_000  # of the texts: beyond those of any load run
_ATTEMPTS = 6
_MOST_BYTES = 4 << 20
_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Rehearsal:
    """The traffic with what was learned about its target, and a line for each thing that a reader should know."""

    traffic: Traffic
    findings: tuple[str, ...]


def rehearse(
    traffic: Traffic, url: str, options: Mapping[str, Any] | None = None, tokenizer: Path | None = None
) -> Rehearsal:
    """Ask the target, and return the traffic by which the lengths of prompts and answers are those planned.

    `options` are those of the sender `http`. What cannot be learned stays as it was, and the findings say so; only a
    tokenizer that cannot be used raises LoadError.
    """
    workload = traffic.workload
    if workload.kind == "plain":
        return Rehearsal(traffic, ())
    counter = None if tokenizer is None else TokenCounter.open(tokenizer)
    counting = None if counter is None else counter.counting()
    findings: list[str] = []
    targets: dict[str, Target] = {}
    for model in dict.fromkeys([one.name for one in workload.models] or [workload.model]):
        asked = _Model(model, traffic, url, dict(options or {}))
        targets[model] = asked.learn(counter, counting)
        findings += [f"{model}: {finding}" for finding in asked.findings]
    prompt_tok = counter.prompt_counts(workload.prompts) if counter else workload.prompt_tok
    learned = replace(workload, targets=targets, prompt_tok=prompt_tok)
    return Rehearsal(replace(traffic, workload=learned), tuple(findings))


class _Reply(NamedTuple):
    status: int
    usage: Usage
    text: str
    """The start of the body; "" where it was read as an answer."""


class _Model:
    """One model at the target."""

    def __init__(self, model: str, traffic: Traffic, url: str, options: dict[str, Any]) -> None:
        self._model, self._traffic, self._options = model, traffic, options
        self._workload, self._address = traffic.workload, parse(url)
        self._vocabulary = Vocabulary(self._workload.seed)
        self.findings: list[str] = []
        self.answer = AnswerLength(exact=("ignore_eos", "min_tokens") if self._plans_answers else ())

    @property
    def _plans_answers(self) -> bool:
        workload = self._workload
        if workload.endpoint not in ("chat", "completions"):
            return False
        return (
            workload.max_tokens is not None or workload.sessions is not None or self._traffic.arrivals.kind == "trace"
        )

    @property
    def _has_conversations(self) -> bool:
        workload = self._workload
        talks = workload.sessions is not None or any(isinstance(one, Conversation) for one in workload.prompts)
        return talks and workload.endpoint in ("chat", "responses")

    def learn(self, counter: TokenCounter | None, counting: Counting | None) -> Target:
        """Return what the target says."""
        if counting is not None:
            self._vocabulary = Vocabulary(self._workload.seed, counting.words)
        words = self._say(_SHORT)
        short = self._settled(words)
        if short is None or not short.usage.known:
            if short is not None:
                self.findings.append("the target reports no usage, so nothing says how it counts tokens")
            return Target(_unmeasured(counter, counting), self.answer)
        learned = self._counting(short, counting)
        target = Target(learned, self.answer)
        self._check(target, short)
        return target

    def _settled(self, prompt: Prompt) -> _Reply | None:
        """Ask until the target takes the parameters; None when it does not answer."""
        for _ in range(_ATTEMPTS):
            reply = self._post(prompt)
            if 200 <= reply.status < 400:
                return reply
            if reply.status not in (400, 422) or not self._respelled(reply.text):
                break
        # What a target writes about a refused key may hold it.
        said = "" if reply.status in (401, 403) else f" {reply.text[:200]}"
        self.findings.append(f"no rehearsal: {reply.status or 'no answer'}{said}")
        return None

    def _respelled(self, text: str) -> bool:
        """Take another spelling because of what the target wrote; False when nothing is left to change."""
        answer, named = self.answer, _parameter(text)
        limit = answer.limit or "max_tokens"
        refused = [name for name in answer.exact if name in named]
        if refused:
            self.answer = replace(answer, exact=tuple(name for name in answer.exact if name not in refused))
            self.findings.append(f"{' and '.join(refused)} is refused: answers may be shorter than planned")
        elif limit == "max_tokens" and limit in named and self._workload.endpoint == "chat":
            self.answer = replace(answer, limit="max_completion_tokens")
            self.findings.append("takes max_completion_tokens, not max_tokens")
        elif answer.exact:
            self.answer = replace(answer, exact=())
            self.findings.append(f"{' and '.join(answer.exact)}: refused without a name; left out")
        else:
            return False
        return True

    def _counting(self, short: _Reply, known: Counting | None) -> Counting:
        """Return how the target counts, from its own counts."""
        long = self._post(self._say(_LONG))
        if not long.usage.known:
            self.findings.append(
                f"a prompt of {_LONG} words was not counted ({long.status}); lengths are not calibrated"
            )
            return known or Counting()
        counted = (long.usage.in_tok - short.usage.in_tok) / (_LONG - _SHORT)
        if not _PLAUSIBLE[0] <= counted <= _PLAUSIBLE[1]:
            said = f"{short.usage.in_tok} and {long.usage.in_tok} tokens counted for {_SHORT} and {_LONG} words"
            self.findings.append(f"{said}: no count to go by; lengths are not calibrated")
            return known or Counting()
        if known is not None and abs(counted / known.word_tok - 1) > WITHIN:
            said = f"the target counts {counted:.3f} tokens a word, {known.source} {known.word_tok:g}"
            self.findings.append(f"{said}: is it that of this model?")
        word_tok = known.word_tok if known else _whole(counted)
        overhead = max(0.0, short.usage.in_tok - _SHORT * word_tok)
        message = overhead
        if self._has_conversations:
            texts = [self._vocabulary.text(FRESH, _NUMBER + 10 + n, _SHORT) for n in range(3)]
            talk = zip(("user", "assistant", "user"), texts, strict=True)
            three = self._post(Conversation(tuple({"role": role, "content": text} for role, text in talk))).usage
            if three.known:
                message = min(overhead, max(0.0, (three.in_tok - 3 * _SHORT * word_tok - overhead) / 2))
        base = known or Counting(source="the server")
        return replace(base, word_tok=word_tok, request_tok=overhead - message, message_tok=message)

    def _check(self, target: Target, short: _Reply) -> None:
        """Send a generated prompt, and say how its counted length, and that of its answer, compare with the plan."""
        counting = target.counting
        words, end = counting.fit(_CHECK - counting.overhead())
        reply = self._post(self._vocabulary.text(FRESH, _NUMBER + 2, words) + end)
        if reply.usage.known and counting.source:
            found = f"{_CHECK} tokens in planned, {reply.usage.in_tok} counted"
            self.findings.append(f"{found} ({counting.source}; {counting.overhead():g} of them by the chat template)")
        if self._plans_answers:
            out_tok = reply.usage.out_tok or short.usage.out_tok
            exact = " and ".join((target.answer.limit or "max_tokens", *target.answer.exact))
            self.findings.append(f"{ANSWER_TOKENS} tokens out requested, {out_tok} counted ({exact})")

    def _say(self, words: int) -> str:
        return self._vocabulary.text(FRESH, _NUMBER + words, words)

    def _post(self, prompt: Prompt) -> _Reply:
        """Send one request, built as those of the load run are; status 0 when there was no answer."""
        probe = replace(
            self._workload, model=self._model, models=(), prompts=(prompt,), prompt_tok=(), repeat_share=0.0,
            stream_share=0.0, sessions=None, max_tokens=fixed(ANSWER_TOKENS),
            targets={self._model: Target(answer=self.answer)},
        )  # fmt: skip
        request = probe.request(0)
        keys = self._options.get("tenant_key_envs", {})
        headers = headers_of(self._address, probe, self._options, request.tenant, keys.get(request.tenant, ""))
        tls = tls_context(self._address, self._options.get("verify", True))
        host, port, timeout_s = self._address.host, self._address.port, min(_TIMEOUT_S, self._traffic.timeout_s)
        connection = (
            http.client.HTTPConnection(host, port, timeout=timeout_s)
            if tls is None
            else http.client.HTTPSConnection(host, port, timeout=timeout_s, context=tls)
        )
        set_deadline(connection, time.perf_counter() + timeout_s)
        try:
            connection.request("POST", self._address.target(probe.path), request.body, headers)
            answer = connection.getresponse()
            return _read(answer.status, answer.read(_MOST_BYTES))
        except (OSError, http.client.HTTPException) as error:
            return _Reply(0, Usage(), f"{type(error).__name__}: {error}")
        finally:
            connection.close()


def _read(status: int, body: bytes) -> _Reply:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    return _Reply(status, usage(document), body[:2000].decode(errors="replace"))


def _parameter(text: str) -> str:
    """Return the parameter that an error names, or its whole text."""
    try:
        error = orjson.loads(text)["error"]
        return str(error["param"] or error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return text


def _unmeasured(counter: TokenCounter | None, counting: Counting | None) -> Counting:
    """Return how a tokenizer counts, with the chat template beside it, for a target that does not say."""
    if counter is None or counting is None:
        return counting or Counting()
    added = template_tokens(counter)
    return counting if added is None else replace(counting, request_tok=added[0], message_tok=added[1])


def _whole(value: float) -> float:
    return float(round(value)) if abs(value - round(value)) < 2e-3 else value
