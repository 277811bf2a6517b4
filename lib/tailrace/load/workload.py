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
from tailrace.load.lengths import Lengths, fixed, uniform
from tailrace.load.prompts import Vocabulary
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


@dataclass(frozen=True, config=_STRICT)
class Workload:
    """Chat completions, by default: generated prompts, each different from all others.

    With `repeat_share` s, a share s of the requests takes its prompt from `pool` popular ones (`zipf` 0: all equally
    popular; 1: the usual skew), so that an ideal cache hits s of them, less the first request of each.
    With `prompts`, those are sent in turn (or by `zipf` popularity). Where the arrivals are a trace, lengths and equal
    prefixes come from it.
    """

    model: str = "gpt-4o-mini"
    prompts: tuple[str, ...] = ()
    repeat_share: Share = 0.0
    stream_share: Share = 0.0
    seed: int = 0
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Sent only when it is given: some models refuse it. A cache keeps answers at an explicit 0 only."""
    prompt_tokens: Lengths = field(default_factory=lambda: fixed(16))
    max_tokens: Lengths | None = None
    pool: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    zipf: Annotated[float, Field(ge=0, le=10)] = 0.0
    models: tuple[Weighted, ...] = ()
    """Several models, by weight, instead of `model`."""
    tenants: tuple[Weighted, ...] = ()
    """Sent as `user` in the body and as the header `x-tailrace-tenant`; the sender may use an API key for each."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Additional fields of every body."""
    path: str = "/chat/completions"
    """Appended to the URL of the API."""
    kind: Literal["chat", "plain"] = "chat"
    """"plain": send `method`, `path` and `body` as they are, and do not check the body of the answer."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    body: str = ""

    def __post_init__(self) -> None:
        if self.prompts and self.repeat_share:
            raise ValueError("repeat_share is for generated prompts; prompts of a file repeat in turn, or by `zipf`")

    def request(self, n: int, arrival: Arrival | None = None) -> PlannedRequest:
        """Return the n-th request of the whole traffic; `arrival` gives its lengths, from a trace."""
        if self.kind == "plain":
            return PlannedRequest(self.body.encode(), "", False)
        model = self._weighted(self.models, n, 1) or self.model
        tenant = self._weighted(self.tenants, n, 2)
        stream = uniform(self.seed, n, 3) < self.stream_share
        fields: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": self.prompt(n, arrival)}]}
        if self.temperature is not None:
            fields["temperature"] = self.temperature
        if arrival is not None:
            fields["max_tokens"] = max(1, arrival.out_tok)
        elif self.max_tokens is not None:
            fields["max_tokens"] = max(1, self.max_tokens.draw(uniform(self.seed, n, 4)))
        if stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        if tenant:
            fields["user"] = tenant
        return PlannedRequest(orjson.dumps(fields | self.extra), model, stream, tenant)

    def prompt(self, n: int, arrival: Arrival | None = None) -> str:
        """Return the text of the n-th request."""
        if arrival is not None:
            return (
                self._vocabulary.blocks(arrival.blocks, arrival.in_tok)
                if arrival.blocks
                else self._fresh(n, arrival.in_tok)
            )
        if self.prompts:
            return self.prompts[self._popular(n) if self.zipf else n % len(self.prompts)]
        if uniform(self.seed, n, 5) < self.repeat_share:
            rank = self._popular(n)
            return self._vocabulary.words(f"popular {rank}", self.prompt_tokens.draw(uniform(self.seed, rank, 6)), rank)
        return self._fresh(n, self.prompt_tokens.draw(uniform(self.seed, n, 7)))

    def _fresh(self, n: int, tokens: int) -> str:
        return self._vocabulary.words(f"request {n}", tokens, n)

    def _popular(self, n: int) -> int:
        at = uniform(self.seed, n, 8)
        count = len(self.prompts) or self.pool
        return int(at * count) if not self.zipf else bisect.bisect_right(self._zipf_bounds, at)

    def _weighted(self, choices: Sequence[Weighted], n: int, salt: int) -> str:
        if not choices:
            return ""
        at = uniform(self.seed, n, salt) * sum(choice.weight for choice in choices)
        for choice in choices:
            at -= choice.weight
            if at < 0:
                return choice.name
        return choices[-1].name

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self.seed)

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
