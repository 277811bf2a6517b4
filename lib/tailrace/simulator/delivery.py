"""The delivery of a response: when each part of it is sent, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

from tailrace.simulator import api_errors
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Pace


class Ending(Enum):
    """How a delivery ends after its last part."""

    COMPLETE = "complete"
    CLEAN = "clean"  # the HTTP message is complete, the stream in it is not
    CLOSE = "close"  # the connection is closed in the middle of a message
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A response and the schedule on which it is sent."""

    response: ApiResponse
    due_s: tuple[float, ...] = (0.0,)
    """When each part is sent, in seconds after the request was read; a whole response is one part."""
    ending: Ending = Ending.COMPLETE
    sends: int | None = None
    """How many parts are sent before the ending; None: nothing at all, not even the head."""
    hold_s: float = 0.0
    fault: str = ""


def whole(response: ApiResponse, fault: str = "", wait_s: float = 0.0) -> Delivery:
    """Return the delivery of an unstreamed response."""
    return Delivery(response, (wait_s,), sends=1, fault=fault)


def replaced(fault: Fault) -> Delivery | None:
    """Return the delivery of a fault that replaces the model's response; None if the fault only changes it."""
    error = _error(fault)
    return None if error is None else whole(error.response, fault.kind, fault.wait_s)


def _error(fault: Fault) -> api_errors.ApiError | None:
    match fault.kind:
        case "rate_limit":
            return api_errors.rate_limit(1.0 if fault.retry_after_s is None else fault.retry_after_s)
        case "quota":
            return api_errors.quota()
        case "error500":
            return api_errors.failing(500, "The server had an error while processing your request.", None)
        case "error503":
            return api_errors.failing(503, "The engine is currently overloaded.", fault.retry_after_s)
        case "outage":
            return api_errors.failing(503, "The service is down.", fault.retry_after_s)
    return None


def paced(response: ApiResponse, pace: Pace) -> Delivery:
    """Return the delivery of `response` at the pace of a model."""
    first_s, gaps_s = pace.first_s(), pace.gaps_s(response.steps)
    if not response.stream:
        return whole(response, wait_s=first_s + sum(gaps_s))
    due_s = tuple(accumulate(gaps_s, initial=first_s))
    return Delivery(response, due_s, sends=len(response.parts))


def with_fault(delivery: Delivery, fault: Fault) -> Delivery:
    """Return `delivery` with `fault` applied."""
    delivery = replace(delivery, fault=fault.kind)
    match fault.kind:
        case "slow_stream":
            return replace(delivery, due_s=tuple(due + (i + 1) * fault.wait_s for i, due in enumerate(delivery.due_s)))
        case "malformed":
            delivery = _malformed(delivery)
        case "cut_stream":
            ending = Ending.CLEAN if fault.clean else Ending.CLOSE
            chunks = len(delivery.response.parts) // 2 if fault.chunks is None else fault.chunks
            delivery = replace(delivery, ending=ending, sends=_at_most(delivery, chunks))
        case "reset":
            delivery = replace(delivery, ending=Ending.RESET, sends=_at_most(delivery, fault.chunks))
        case "hang":
            sends = _at_most(delivery, fault.chunks)
            delivery = replace(delivery, ending=Ending.HANG, sends=sends, hold_s=fault.hold_s)
    return replace(delivery, due_s=tuple(due + fault.wait_s for due in delivery.due_s))


def _at_most(delivery: Delivery, chunks: int | None) -> int | None:
    if chunks is None or not delivery.response.stream:
        return None
    return min(chunks, len(delivery.response.parts))


def _malformed(delivery: Delivery) -> Delivery:
    """Return JSON that ends in the middle, in a complete HTTP message."""
    response = delivery.response
    if not response.stream:
        return replace(delivery, response=replace(response, body=response.body[: len(response.body) // 2]))
    half = len(response.parts) // 2
    parts = (*response.parts[:half], response.parts[half][:-10] + b"\n\n")
    return replace(delivery, response=replace(response, parts=parts), ending=Ending.CLEAN, sends=len(parts))
