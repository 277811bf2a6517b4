"""The requests of a load run, by their number in the schedule.

The n-th request is a pure function of the workload and n, whichever shard sends it and however often it is built.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import field
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tailrace.errors import LoadError
from tailrace.load import bodies
from tailrace.load.bodies import Conversation, Endpoint, Prompt
from tailrace.load.counting import Target
from tailrace.load.lengths import Lengths, fixed, uniform
from tailrace.load.prompts import FRESH, POPULAR, Vocabulary
from tailrace.load.sessions import ANSWER, Script, SessionPlan, Sessions, Turn, questions
from tailrace.load.traces import Arrival

Share = Annotated[float, Field(ge=0, le=1)]
_STRICT = ConfigDict(extra="forbid")


class PlannedRequest(NamedTuple):
    """A request that is ready to be sent."""

    body: bytes
    model: str
    stream: bool
    tenant: str = ""
    planned_in_tok: int = -1
    """Length of the whole prompt, as the server counts it; -1 when the plan does not say."""
    planned_out_tok: int = -1
    """Length of the answer that is requested; -1 when the plan does not say."""
    prefix_tok: int = -1
    """Of the planned prompt, the leading tokens that an earlier request sent; -1 when the plan does not say."""
    session: int = -1
    """Number of the conversation; -1 outside of one."""
    turn: int = 0
    """Place in the conversation, from 0."""


@dataclass(frozen=True, config=_STRICT)
class Weighted:
    """A model or a tenant, and its share of the requests."""

    name: str
    weight: Annotated[float, Field(gt=0)] = 1.0


class Text(NamedTuple):
    """A prompt and its tokens; -1 when they are not known."""

    prompt: Prompt
    in_tok: int = -1
    prefix_tok: int = -1


@dataclass(frozen=True, config=_STRICT)
class Workload:
    """Chat completions, by default: generated prompts, each different from all others.

    With `repeat_share` s, a share s of the requests takes its prompt from `pool` popular ones (`zipf` 0: all equally
    popular; 1: the usual skew), so that an ideal cache hits s of them, less the first request of each.
    With `prompts`, those are sent in turn (or by `zipf` popularity). Where the arrivals are a trace, lengths and equal
    prefixes come from it. Lengths in tokens are those of the whole prompt, chat template included, as far as a
    rehearsal has measured how the target counts (`targets`).
    """

    model: str = "gpt-4o-mini"
    prompts: tuple[Prompt, ...] = ()
    repeat_share: Share = 0.0
    stream_share: Share = 0.0
    seed: int = 0
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sent only when it is given: some models refuse it. A cache keeps answers at an explicit 0 only."""
    prompt_tokens: Lengths = field(default_factory=lambda: fixed(16))
    max_tokens: Lengths | None = None
    """The length of the answers; a limit, or exact where the target can (`targets`)."""
    pool: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    zipf: Annotated[float, Field(ge=0, le=10)] = 0.0
    models: tuple[Weighted, ...] = ()
    """Several models, by weight, instead of `model`."""
    tenants: tuple[Weighted, ...] = ()
    """Sent as `user` in the body and as the header `x-tailrace-tenant`; the sender may use an API key for each."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Additional fields of every body."""
    endpoint: Endpoint = "chat"
    sessions: Sessions | None = None
    """Conversations: the driver asks for `session` and `turn` instead of `request`."""
    targets: dict[str, Target] = field(default_factory=dict)
    """What a rehearsal learned, by model; without it, one word counts as one token."""
    prompt_tok: tuple[tuple[int, ...], ...] = ()
    """Tokens of the messages of each of `prompts`, where a tokenizer counted them."""
    path: str = ""
    """Appended to the URL of the API; "" for that of `endpoint`."""
    kind: Literal["openai", "plain"] = "openai"
    """"plain": send `method`, `path` and `body` as they are, and do not check the body of the answer."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: str = ""

    def __post_init__(self) -> None:
        if self.prompts and self.repeat_share:
            raise ValueError("repeat_share is for generated prompts; prompts of a file repeat in turn, or by `zipf`")
        if self.endpoint in ("completions", "embeddings"):
            if self.sessions is not None:
                raise ValueError(f"sessions need the endpoint chat or responses; found {self.endpoint}")
            for prompt in self.prompts:
                bodies.content(self.endpoint, prompt)
        if not self.path and self.kind == "openai":
            object.__setattr__(self, "path", bodies.PATHS[self.endpoint])

    def request(self, n: int, arrival: Arrival | None = None) -> PlannedRequest:
        """Return the n-th request of the whole traffic; `arrival` gives its lengths, from a trace."""
        if self.kind == "plain":
            return PlannedRequest(self.body.encode(), "", False)
        model = self.model_of(n)
        if arrival is not None:
            answer: int | None = arrival.out_tok
        else:
            answer = None if self.max_tokens is None else self._length(self.max_tokens, n, 4)
        return self._request(n, model, self._text(n, model, arrival), answer)

    def session(self, n: int) -> SessionPlan:
        """Return the n-th conversation: generated by `sessions`, or a recorded one of `prompts`, in turn."""
        if not self.prompts:
            return self._script.plan(n)
        prompt = self.prompts[self._chosen(n)]
        count = 1 if isinstance(prompt, str) else len(questions(prompt))
        return self._script.plan(n)._replace(turns=tuple(Turn(self._script.think_s(n, k)) for k in range(count)))

    def turn(self, plan: SessionPlan, turn: int) -> PlannedRequest:
        """Return what turn number `turn` of a session sends, with its history."""
        n, (*_, place, arrival) = plan.number, plan.turns[turn]
        if arrival is not None:
            request = self.request(place, arrival)
        elif self.prompts:
            answer = None if self.max_tokens is None else self._script.answer_tokens(n, turn)
            request = self._request(n, self.model_of(n), self._recorded(n, turn), answer)
        else:
            model = self.model_of(n)
            target, vocabulary = self._target(model)
            text = self._script.text(n, turn, target.counting, vocabulary)
            request = self._request(n, model, Text(*text), self._script.answer_tokens(n, turn))
        return request._replace(session=n, turn=turn)

    def model_of(self, n: int) -> str:
        """Return the model of the n-th request, or session."""
        return self._weighted(self.models, n, 1) or self.model

    def prompt(self, n: int, arrival: Arrival | None = None) -> Prompt:
        """Return the text of the n-th request, or the conversation that it continues."""
        return self._text(n, self.model_of(n), arrival).prompt

    def _request(self, n: int, model: str, text: Text, answer: int | None) -> PlannedRequest:
        tenant = self._weighted(self.tenants, n, 2)
        stream = self.endpoint != "embeddings" and self._drawn(self.stream_share, n, 3)
        fields: dict[str, Any] = {"model": model, **bodies.content(self.endpoint, text.prompt)}
        planned_out = -1
        if self.endpoint != "embeddings":
            if self.temperature is not None:
                fields["temperature"] = self.temperature
            if answer is not None:
                planned_out = max(1, answer)
                fields |= self._target(model)[0].answer.fields(planned_out, bodies.LIMITS[self.endpoint])
            if stream:
                fields |= bodies.streaming(self.endpoint)
        if tenant:
            fields["user"] = tenant
        body = orjson.dumps(fields | self.extra)
        return PlannedRequest(body, model, stream, tenant, text.in_tok, planned_out, text.prefix_tok)

    def _text(self, n: int, model: str, arrival: Arrival | None) -> Text:
        if arrival is not None:
            prompt = self._generated(model, FRESH, n, arrival.in_tok, arrival)
            return Text(prompt, arrival.in_tok, arrival.prefix_tok if arrival.blocks else 0)
        if self.prompts:
            return self._recorded(n, None)
        if self._drawn(self.repeat_share, n, 5):
            rank = self._popular(n)
            tokens = self._length(self.prompt_tokens, rank, 6)
            return Text(self._generated(model, POPULAR, rank, tokens), tokens)
        tokens = self._length(self.prompt_tokens, n, 7)
        return Text(self._generated(model, FRESH, n, tokens), tokens, 0)

    def _generated(self, model: str, kind: int, n: int, tokens: int, arrival: Arrival | None = None) -> str:
        """Return a text that makes the whole prompt `tokens` long."""
        target, vocabulary = self._target(model)
        counting = target.counting
        words, end = counting.fit(tokens - counting.overhead())
        if arrival is None or not arrival.blocks:
            return vocabulary.text(kind, n, words) + end
        block_words = max(1, int(arrival.block_tok / counting.word_tok + 1e-9))
        return vocabulary.blocks(arrival.blocks, block_words, words) + end

    def _recorded(self, n: int, turn: int | None) -> Text:
        """Return a prompt of the file; with `turn`, its messages up to that turn."""
        at = self._chosen(n)
        prompt, counts = self.prompts[at], self.prompt_tok[at] if self.prompt_tok else ()
        if isinstance(prompt, str):
            return Text(prompt, self._counted(n, counts))
        if turn is None:
            return Text(prompt, self._counted(n, counts))
        ends = questions(prompt)
        part = prompt if ends[turn] == len(prompt) else Conversation(prompt.messages[: ends[turn]])
        prefix = self._counted(n, counts[: ends[turn - 1]]) if turn else -1
        return Text(part, self._counted(n, counts[: ends[turn]]), prefix)

    def _counted(self, n: int, counts: Sequence[int]) -> int:
        """Return the tokens of messages whose texts count so many; -1 when they were not counted."""
        if not counts:
            return -1
        return round(self._target(self.model_of(n))[0].counting.overhead(len(counts)) + sum(counts))

    def _chosen(self, n: int) -> int:
        return self._popular(n) if self.zipf else n % len(self.prompts)

    def _popular(self, n: int) -> int:
        at = uniform(self.seed, n, 8)
        count = len(self.prompts) or self.pool
        return int(at * count) if not self.zipf else bisect.bisect_right(self._zipf_bounds, at)

    def _drawn(self, share: float, n: int, salt: int) -> bool:
        return share > 0 and (share >= 1 or uniform(self.seed, n, salt) < share)

    def _length(self, lengths: Lengths, n: int, salt: int) -> int:
        # A fixed length draws nothing: a request is built while the next ones wait.
        return lengths.draw(0.0 if lengths.law == "fixed" else uniform(self.seed, n, salt))

    def _weighted(self, choices: Sequence[Weighted], n: int, salt: int) -> str:
        if not choices:
            return ""
        at = uniform(self.seed, n, salt) * sum(choice.weight for choice in choices)
        for choice in choices:
            at -= choice.weight
            if at < 0:
                return choice.name
        return choices[-1].name

    def _target(self, model: str) -> tuple[Target, Vocabulary]:
        return self._targets.get(model) or self._targets[""]

    @cached_property
    def _targets(self) -> dict[str, tuple[Target, Vocabulary]]:
        targets = {"": Target(), **self.targets}
        vocabularies = {words: Vocabulary(self.seed, words) for words in {t.counting.words for t in targets.values()}}
        return {model: (target, vocabularies[target.counting.words]) for model, target in targets.items()}

    @cached_property
    def _script(self) -> Script:
        return Script(self.sessions or Sessions(), self.prompt_tokens, self.max_tokens or ANSWER, self.seed)

    @cached_property
    def _zipf_bounds(self) -> list[float]:
        """The cumulative shares of the ranks: the share of rank k is proportional to 1 / k**zipf."""
        weights = [1 / rank**self.zipf for rank in range(1, (len(self.prompts) or self.pool) + 1)]
        total, reached, bounds = sum(weights), 0.0, []
        for weight in weights[:-1]:
            reached += weight / total
            bounds.append(reached)
        return bounds


def plain(path: str, method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET", body: str = "") -> Workload:
    """Return requests for a service that is not OpenAI-compatible; LoadError when `path` does not start with /."""
    if not path.startswith("/"):
        raise LoadError(f"path {path!r} does not start with /")
    return Workload(kind="plain", path=path, method=method, body=body)
