"""Scripted faults: which request gets which one, by probability or by sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tailrace.simulator.stream_errors import Form

Kind = Literal[
    "rate_limit", "quota", "error500", "error503", "hang", "reset", "slow", "slow_stream", "cut_stream", "malformed",
    "error_event", "error_body", "empty_answer", "outage",
]  # fmt: skip
Wait = Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)]

STREAM_ONLY: Final = frozenset({"slow_stream", "cut_stream", "error_event"})
_OWN: Final = {
    "retry_after_s": {"rate_limit", "error503", "outage"},
    "hold_s": {"hang"},
    "chunks": {"hang", "reset", "cut_stream", "error_event"},
    "clean": {"cut_stream"},
    "form": {"error_event"},
}
"""Fields that only some kinds have."""
_DELAYS: Final = {"slow": 1.0, "slow_stream": 0.2}


class Fault(BaseModel):
    """One scripted fault; with neither `probability` nor `sequence` it applies to every request.

    It applies to chat, completions, responses and embeddings only; `outage` applies to everything under /v1/.
    `slow_stream`, `cut_stream` and `error_event` neither apply to nor count requests that are not streamed.
    `error_body` is an error object under status 200; `empty_answer` is a complete answer without a token.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Kind
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    sequence: tuple[bool, ...] | None = None
    """Repeated over the requests: (0, 0, 1) applies to every third. Also as text: "001"."""
    after: Annotated[int, Field(ge=0)] = 0
    """Skips this many requests first."""
    count: Annotated[int, Field(ge=1)] | None = None
    """Ends after it has applied to this many."""
    duration_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Ends this long after it was set; with `after`, this long after the last request that it skipped."""
    delay_s: Wait = 0.0
    """Waits before the response or the failure (`slow`: 1 s); with `slow_stream` before every chunk (0.2 s)."""
    retry_after_s: Wait | None = None
    """The `Retry-After` header; rate_limit always sends one (1 s)."""
    hold_s: Wait = 120.0
    """A hang closes the connection after this long."""
    chunks: Annotated[int, Field(ge=0)] | None = None
    """Chunks of a stream that are sent first; cut_stream, error_event: half; hang, reset: none, not even the head."""
    clean: bool = False
    """cut_stream: complete the HTTP message, without the stream's finish reason and terminator."""
    form: Form = "object"
    """error_event: a data line with an error object, the same with `event: error`, or the finish reason "error"."""

    @field_validator("sequence", mode="before")
    @classmethod
    def _from_text(cls, sequence: Any) -> Any:
        return tuple(sequence) if isinstance(sequence, str) else sequence

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.probability is not None and self.sequence is not None:
            raise ValueError("probability and sequence exclude each other")
        if self.sequence is not None and not any(self.sequence):
            raise ValueError("sequence never applies; expected at least one 1 in it")
        for name, kinds in _OWN.items():
            if name in self.model_fields_set and self.kind not in kinds:
                raise ValueError(f"{name} is not for {self.kind}, only for {', '.join(sorted(kinds))}")
        return self

    @property
    def wait_s(self) -> float:
        return self.delay_s if "delay_s" in self.model_fields_set else _DELAYS.get(self.kind, 0.0)


class Rule:
    """A fault and its counts since it was set."""

    def __init__(self, fault: Fault, random: Random, clock: Callable[[], float]) -> None:
        self.fault, self.seen, self.met = fault, 0, 0
        self._random, self._clock, self._since_s = random, clock, clock()

    @property
    def active(self) -> bool:
        """Whether it can still apply to a request."""
        fault = self.fault
        if fault.count is not None and self.met >= fault.count:
            return False
        waiting = self.seen < fault.after
        return fault.duration_s is None or waiting or self._clock() - self._since_s < fault.duration_s

    def applies(self) -> bool:
        """Count one request, and return whether the fault applies to it."""
        place = self.seen - self.fault.after
        active = self.active
        self.seen += 1
        if self.seen == self.fault.after:
            self._since_s = self._clock()
        return self._chosen(place) and active and place >= 0

    def _chosen(self, place: int) -> bool:
        if self.fault.sequence is not None:
            return self.fault.sequence[place % len(self.fault.sequence)]
        return self.fault.probability is None or self._random.random() < self.fault.probability


class FaultScript:
    """All faults that are set; the first that applies to a request wins."""

    def __init__(self, faults: Sequence[Fault], seed: int, clock: Callable[[], float]) -> None:
        self._seed, self._clock = seed, clock
        self.rules: list[Rule] = []
        self.set(faults)

    def set(self, faults: Sequence[Fault]) -> None:
        """Replace all faults; their counts and random sequences restart."""
        randoms = [Random(f"{self._seed}:{index}:{fault.kind}") for index, fault in enumerate(faults)]
        self.rules = [Rule(fault, random, self._clock) for fault, random in zip(faults, randoms, strict=True)]

    def next(self, *, inference: bool, stream: bool) -> Fault | None:
        """Return the fault for the next request, or None; every fault counts every request that it may apply to."""
        chosen: Fault | None = None
        for rule in self.rules:
            kind = rule.fault.kind
            if not (inference or kind == "outage") or (kind in STREAM_ONLY and not stream):
                continue
            if rule.applies() and chosen is None:
                chosen = rule.fault
                rule.met += 1
        return chosen

    def describe(self) -> list[dict[str, Any]]:
        """Return the faults as JSON, with the requests that each has `seen` and `met`, and whether it is `active`."""
        return [
            {**rule.fault.model_dump(mode="json", exclude_unset=True), "seen": rule.seen, "met": rule.met,
             "active": rule.active}
            for rule in self.rules
        ]  # fmt: skip
