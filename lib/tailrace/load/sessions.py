"""Conversations of several turns: who says what, and when the next turn is due.

A plan is pure. The driver sends turn k of a session when both are over: its `due_s` after the start of the session,
and its `think_s` after the end of the answer to turn k - 1.

    plan = workload.session(n)                       # or one of `of_trace(trace)`
    for k in range(len(plan.turns)):
        request = workload.turn(plan, k)             # its whole history is in the body

The history holds *planned* answers, of the length that was requested, not those that came
(`runbook/decisions/sessions-replay-planned-answers.md`). A target can so reuse the prompt of the turn before, and
`prefix_tok` says how much that is.
"""

from __future__ import annotations

import math
from dataclasses import field, fields
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tailrace.load.bodies import Conversation
from tailrace.load.counting import Counting
from tailrace.load.lengths import Lengths, fixed, uniform
from tailrace.load.prompts import FRESH, SHARED, Vocabulary
from tailrace.load.traces import Arrival, Trace

_TURNS_AT_MOST = 512
ANSWER: Lengths = fixed(16)
"""The planned length of an answer where no other is requested."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Sessions:
    """The shape of generated conversations. Each turn adds a message of `Workload.prompt_tokens`."""

    turns: Lengths = field(default_factory=lambda: fixed(4))
    think_s: Annotated[float, Field(ge=0, le=86_400)] = 0.0
    """Mean pause between an answer and the next turn."""
    think: Literal["fixed", "exponential"] = "fixed"
    system_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Length of a system message that all sessions begin with."""


class Turn(NamedTuple):
    """When a turn is due, and its place in the trace, where it comes from one."""

    think_s: float = 0.0
    """Pause after the end of the answer before."""
    due_s: float = 0.0
    """Not earlier than this, from the start of the session."""
    place: int = -1
    arrival: Arrival | None = None


class SessionPlan(NamedTuple):
    """One conversation."""

    number: int
    turns: tuple[Turn, ...]
    start_s: float = 0.0
    """When it begins, on the trace's clock; the schedule says so for others."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SessionCounts:
    """What became of the sessions of a load run."""

    begun: int = 0
    complete: int = 0
    """Every turn was answered."""
    failed: int = 0
    """A turn failed; the ones after it were not sent."""
    unfinished: int = 0
    """The schedule ended, or was stopped, before the last turn."""
    turns_after_failure: int = 0
    """Turns that were not sent, because one before them failed."""
    turns_after_end: int = 0
    """Turns that were not sent, because they were due after the end of the schedule."""

    def __add__(self, other: SessionCounts) -> SessionCounts:
        return SessionCounts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


class Text(NamedTuple):
    """The messages of one turn, and their tokens; -1 when they are not known."""

    conversation: Conversation
    in_tok: int
    prefix_tok: int


class Script:
    """Generates the messages of session n, turn k: a pure function of the settings, the seed and both numbers."""

    def __init__(self, sessions: Sessions, message: Lengths, answer: Lengths, seed: int) -> None:
        self._sessions, self._message, self._answer, self._seed = sessions, message, answer, seed

    def plan(self, n: int) -> SessionPlan:
        """Return the n-th session."""
        count = min(_TURNS_AT_MOST, max(1, self._sessions.turns.draw(uniform(self._seed, n, 21))))
        return SessionPlan(n, tuple(Turn(self.think_s(n, k)) for k in range(count)))

    def answer_tokens(self, n: int, turn: int) -> int:
        """Return the planned length of the answer to a turn."""
        return max(1, self._answer.draw(uniform(self._seed, self._id(n, turn), 22)))

    def text(self, n: int, turn: int, counting: Counting, vocabulary: Vocabulary) -> Text:
        """Return what is sent at a turn: the system message, the turns before with their answers, and its message."""
        messages: list[dict[str, Any]] = []
        in_tok = float(self._sessions.system_tokens)
        prefix = in_tok if n else 0.0
        if in_tok:
            messages.append(_say("system", vocabulary, counting, (SHARED, 0), in_tok - counting.message_tok))
        for k in range(turn + 1):
            tokens = self._message.draw(uniform(self._seed, self._id(n, k), 23))
            own = tokens - counting.message_tok - (0 if k else counting.request_tok)
            messages.append(_say("user", vocabulary, counting, (FRESH, self._id(n, 2 * k)), own))
            in_tok += tokens
            if k < turn:
                prefix, answer = in_tok, self.answer_tokens(n, k)
                messages.append(_say("assistant", vocabulary, counting, (FRESH, self._id(n, 2 * k + 1)), answer))
                in_tok += answer + counting.message_tok
        return Text(Conversation(tuple(messages)), round(in_tok), round(prefix))

    def _id(self, n: int, k: int) -> int:
        return n + (k << 20)  # texts of a million sessions, and of 512 turns and answers of each, differ

    def think_s(self, n: int, turn: int) -> float:
        """Return the pause before a turn; none before the first."""
        if not turn:
            return 0.0
        mean_s = self._sessions.think_s
        if self._sessions.think == "fixed":
            return mean_s
        return -mean_s * math.log1p(-uniform(self._seed, self._id(n, turn), 24))


def questions(conversation: Conversation) -> list[int]:
    """Return how many messages each turn of a recorded conversation sends: up to each that an assistant answers."""
    roles = [message.get("role") for message in conversation.messages] + ["assistant"]
    return [n + 1 for n in range(len(roles) - 1) if roles[n + 1] == "assistant" != roles[n]]


def of_trace(trace: Trace) -> list[SessionPlan]:
    """Return the conversations of a trace that records them (Qwen-Bailian), by their start.

    A turn is due at its recorded time, or when the turn before is answered, if that is later. With `keep` a session
    may lose turns, or have them twice: ValueError.
    """
    if trace.keep != 1:
        raise ValueError(f"sessions of a trace are played whole; found keep {trace.keep:g}, expected 1")
    arrivals = trace.arrivals()
    turns: dict[int, list[Turn]] = {}
    for place, chat in enumerate(arrivals.chats):
        arrival = arrivals[place]
        own = turns.setdefault(chat, [])
        start_s = arrivals.at_s[own[0].place] if own else arrival.at_s
        own.append(Turn(0.0, arrival.at_s - float(start_s), place, arrival))
    if not turns:
        raise ValueError(f"trace {trace.path} has no conversations: {arrivals.format.title} does not record them")
    return [SessionPlan(n, tuple(own), float(arrivals.at_s[own[0].place])) for n, own in enumerate(turns.values())]


def _say(role: str, vocabulary: Vocabulary, counting: Counting, mark: tuple[int, int], tokens: float) -> dict[str, Any]:
    words, end = counting.fit(tokens)
    return {"role": role, "content": vocabulary.text(*mark, words) + end}
