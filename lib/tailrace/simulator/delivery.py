"""The delivery of a response: when each part of it is sent, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

from tailrace.simulator import api_errors, stream_errors
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Pace

KEEP_ALIVE = b": keep-alive\n\n"
MIN_KEEP_ALIVE_S = 0.001


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
    sizes: tuple[int, ...] = ()
    """Tokens in each part; empty: one."""
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
        case "error_body":
            return api_errors.failing(200, stream_errors.MESSAGE, None)
    return None


def paced(response: ApiResponse, pace: Pace, keep_alive_s: float = 0.0) -> Delivery:
    """Return the delivery of `response` at the pace of a model, with a comment after each `keep_alive_s` of silence."""
    first_s, gaps_s = pace.first_s(), pace.gaps_s(response.steps)
    if not response.stream:
        return whole(response, wait_s=first_s + sum(gaps_s))
    token_s = tuple(accumulate(gaps_s, initial=first_s))
    due_s = _part_s(token_s, response.sizes) if response.sizes else token_s
    delivery = Delivery(response, due_s, response.sizes, sends=len(response.parts))
    return _kept_alive(delivery, max(keep_alive_s, MIN_KEEP_ALIVE_S)) if keep_alive_s else delivery


def _part_s(token_s: tuple[float, ...], sizes: tuple[int, ...]) -> tuple[float, ...]:
    """Return when each part is sent: with the first of its tokens, or at once when it has none."""
    if not any(sizes):
        return (token_s[0],) * len(sizes)  # an empty answer takes a model as long as a first token
    firsts = accumulate(sizes[:-1], initial=0)
    return tuple(token_s[first] if size else 0.0 for first, size in zip(firsts, sizes, strict=True))


def _kept_alive(delivery: Delivery, every_s: float) -> Delivery:
    parts, due_s, sizes = [], [], []
    said_s = 0.0
    for part, part_s, size in zip(delivery.response.parts, delivery.due_s, _sizes(delivery), strict=True):
        while part_s - said_s > every_s:
            said_s += every_s
            parts.append(KEEP_ALIVE)
            due_s.append(said_s)
            sizes.append(0)
        parts.append(part)
        due_s.append(part_s)
        sizes.append(size)
        said_s = part_s
    return _with_parts(delivery, tuple(parts), tuple(due_s), tuple(sizes))


def _with_parts(
    delivery: Delivery, parts: tuple[bytes, ...], due_s: tuple[float, ...], sizes: tuple[int, ...]
) -> Delivery:
    response = replace(delivery.response, parts=parts)
    return replace(delivery, response=response, due_s=due_s, sizes=sizes, sends=len(parts))


def _sizes(delivery: Delivery) -> tuple[int, ...]:
    return delivery.sizes or (1,) * len(delivery.response.parts)


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
        case "error_event":
            delivery = _failed(delivery, fault)
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


def _failed(delivery: Delivery, fault: Fault) -> Delivery:
    """Return a stream that ends in an error, in a complete HTTP message."""
    parts = delivery.response.parts
    kept = len(parts) // 2 if fault.chunks is None else min(fault.chunks, len(parts))
    error = stream_errors.events(delivery.response.api, fault.form)
    due_s = (*delivery.due_s[:kept], delivery.due_s[min(kept, len(parts) - 1)])
    failed = _with_parts(delivery, (*parts[:kept], error), due_s, (*_sizes(delivery)[:kept], 0))
    return replace(failed, ending=Ending.CLEAN)


def _malformed(delivery: Delivery) -> Delivery:
    """Return JSON that ends in the middle, in a complete HTTP message."""
    response = delivery.response
    if not response.stream:
        return replace(delivery, response=replace(response, body=response.body[: len(response.body) // 2]))
    half = len(response.parts) // 2
    parts = (*response.parts[:half], response.parts[half][:-10] + b"\n\n")
    return replace(delivery, response=replace(response, parts=parts), ending=Ending.CLEAN, sends=len(parts))
