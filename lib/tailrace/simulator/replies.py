"""What is done for a request: an answer, when each part of it leaves, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

from tailrace.simulator import refusals
from tailrace.simulator.answers import Answer
from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Pace


class Ending(Enum):
    """How the last byte is followed."""

    COMPLETE = "complete"
    CLEAN = "clean"  # the HTTP message is whole, the stream in it is not
    CLOSE = "close"  # the connection is closed in the middle of a message
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer on its way."""

    answer: Answer
    due_s: tuple[float, ...] = (0.0,)
    """When each part leaves (a plain answer is one part), in seconds after the request was read."""
    ending: Ending = Ending.COMPLETE
    sends: int | None = None
    """How many parts leave before the ending; None: nothing at all, not even a head."""
    hold_s: float = 0.0
    fault: str = ""


def plain(answer: Answer, fault: str = "", wait_s: float = 0.0) -> Reply:
    """Return the reply that sends all of an unstreamed answer."""
    return Reply(answer, (wait_s,), sends=1, fault=fault)


def refused(fault: Fault) -> Reply | None:
    """Return the reply of a fault that needs no answer of the model; None when it needs one."""
    refusal = _refusal(fault)
    return None if refusal is None else plain(refusal.answer, fault.kind, fault.wait_s)


def _refusal(fault: Fault) -> refusals.Refusal | None:
    match fault.kind:
        case "rate_limit":
            return refusals.rate_limit(1.0 if fault.retry_after_s is None else fault.retry_after_s)
        case "quota":
            return refusals.quota()
        case "error500":
            return refusals.failing(500, "The server had an error while processing your request.", None)
        case "error503":
            return refusals.failing(503, "The engine is currently overloaded.", fault.retry_after_s)
        case "outage":
            return refusals.failing(503, "The service is down.", fault.retry_after_s)
    return None


def paced(answer: Answer, pace: Pace) -> Reply:
    """Return the reply that sends `answer` at the pace of a model."""
    first_s, gaps_s = pace.first_s(), pace.gaps_s(answer.steps)
    if not answer.stream:
        return plain(answer, wait_s=first_s + sum(gaps_s))
    due_s = tuple(accumulate(gaps_s, initial=first_s))
    return Reply(answer, due_s, sends=len(answer.parts))


def spoiled(reply: Reply, fault: Fault) -> Reply:
    """Return `reply` as `fault` lets it out."""
    reply = replace(reply, fault=fault.kind)
    match fault.kind:
        case "slow_stream":
            return replace(reply, due_s=tuple(due + (i + 1) * fault.wait_s for i, due in enumerate(reply.due_s)))
        case "malformed":
            reply = _malformed(reply)
        case "cut_stream":
            ending = Ending.CLEAN if fault.clean else Ending.CLOSE
            half = len(reply.answer.parts) // 2
            reply = replace(reply, ending=ending, sends=_at_most(reply, half if fault.chunks is None else fault.chunks))
        case "reset":
            reply = replace(reply, ending=Ending.RESET, sends=_at_most(reply, fault.chunks))
        case "hang":
            reply = replace(reply, ending=Ending.HANG, sends=_at_most(reply, fault.chunks), hold_s=fault.hold_s)
    return replace(reply, due_s=tuple(due + fault.wait_s for due in reply.due_s))


def _at_most(reply: Reply, chunks: int | None) -> int | None:
    if chunks is None or not reply.answer.stream:
        return None
    return min(chunks, len(reply.answer.parts))


def _malformed(reply: Reply) -> Reply:
    """Return JSON that stops in the middle, in HTTP that is whole."""
    answer = reply.answer
    if not answer.stream:
        return replace(reply, answer=replace(answer, body=answer.body[: len(answer.body) // 2]))
    half = len(answer.parts) // 2
    parts = (*answer.parts[:half], answer.parts[half][:-10] + b"\n\n")
    return replace(reply, answer=replace(answer, parts=parts), ending=Ending.CLEAN, sends=len(parts))
