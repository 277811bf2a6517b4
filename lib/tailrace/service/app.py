"""The ASGI app: what comes in, who answers it, and what is noted of it.

`/v1/*` and `/ask` are work: counted, limited, watched, accounted. `/healthz`, `/readyz` and `/metrics` answer
from a look at the parts that is a second old at most, and are never held up by work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from tailrace.service import answers, exchange
from tailrace.service.answers import Answer, Refusal
from tailrace.service.exchange import Exchange
from tailrace.service.health import Heart, Readiness
from tailrace.service.in_flight import Caller, Flights
from tailrace.service.logs import Log
from tailrace.service.metrics import CONTENT_TYPE, Metrics

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Work = Callable[[Scope, bytes], Awaitable[Answer]]

CLOSED_BY_CALLER = 499
"""In logs and metrics only: nobody is there to get it."""


class Gone(Exception):
    """The caller left before its request was whole."""


@dataclass(frozen=True)
class Parts:
    """What an app is made of."""

    forward: Work
    ask: Work
    readiness: Readiness
    heart: Heart
    metrics: Metrics
    log: Log
    flights: Flights
    max_body_bytes: int


class App:
    """The service as an ASGI 3 application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._was_ready: bool | None = None
        self._own = {"/healthz": self._live, "/readyz": self._ready, "/metrics": self._metrics}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/v1/"):
            await self._work(self._parts.forward, exchange.begin(scope, exchange.route_of(path)), scope, receive, send)
        elif path == "/ask" and scope["method"] == "POST":
            await self._work(self._parts.ask, exchange.begin(scope, "/ask"), scope, receive, send)
        else:
            await self._answer_own(path, scope, send)

    async def _work(self, work: Work, row: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        flights = self._parts.flights
        flights.board(task)
        caller = None
        try:
            body = await read(receive, scope, self._parts.max_body_bytes)
            caller = Caller(receive, task)
            answer = await work(scope, body)
            await self._send(answer, row, send, caller)
        except Refusal as refusal:
            await self._send(refusal.answer, row, send)
        except Gone:
            row.outcome, row.status = "cancelled", CLOSED_BY_CALLER
        except asyncio.CancelledError:
            await self._cancelled(task, caller, row, send)
        except Exception as error:
            await self._failed(error, row, send)
        finally:
            if caller is not None:
                caller.leave()
            flights.land(task)
            self._account(row)

    async def _send(self, answer: Answer, row: Exchange, send: Send, caller: Caller | None = None) -> None:
        row.status = answer.status
        row.outcome = answer.outcome
        headers = [*answer.headers, (b"x-request-id", row.request_id.encode())]
        if self._parts.flights.draining:
            headers.append((b"connection", b"close"))
        body = answer.body
        if isinstance(body, bytes):
            if caller is not None:
                caller.leave()
            if answer.status not in (204, 304):
                headers.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        async with aclosing(chunks(body)) as parts:
            async for chunk in parts:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if caller is not None:
            caller.leave()
        await send({"type": "http.response.body", "body": b""})

    async def _cancelled(
        self, task: asyncio.Task[Any], caller: Caller | None, row: Exchange, send: Send
    ) -> None:  # fmt: skip
        if caller is not None and caller.gone:
            task.uncancel()
            row.outcome, row.status = "cancelled", CLOSED_BY_CALLER
            return
        if not self._parts.flights.was_cut(task):
            raise asyncio.CancelledError
        task.uncancel()
        if not row.status:
            late = answers.failure(
                503, "The service is being replaced; ask again.", "draining", answers.retry_after(1)
            )  # fmt: skip
            await self._send(late, row, send)
        row.outcome = "cut"

    async def _failed(self, error: Exception, row: Exchange, send: Send) -> None:
        """Answer with 500, or break the connection off when the answer had begun: half of one is not to look whole."""
        row.error_type = type(error).__name__
        self._parts.log.error("failed", error, request_id=row.request_id, route=row.route)
        if not row.status:
            await self._send(answers.internal(), row, send)
        row.outcome = "error"

    def _account(self, row: Exchange) -> None:
        duration_s = time.perf_counter() - row.started_s
        if not row.outcome:
            row.outcome = "error"
        self._parts.metrics.forwarded(row.outcome, duration_s)
        self._parts.metrics.answered(row.route, row.status)
        self._parts.log.event("request", **row.facts(duration_s))

    async def _answer_own(self, path: str, scope: Scope, send: Send) -> None:
        own = self._own.get(path)
        if own is None and path != "/ask":
            answer, route = answers.not_found(), "other"
        elif own is None or scope["method"] not in ("GET", "HEAD"):
            answer, route = answers.not_allowed(*(("POST",) if own is None else ("GET", "HEAD"))), path
        else:
            answer, route = await own(), path
        row = Exchange(exchange.request_id(scope["headers"]), scope["method"], route)
        await self._send(answer, row, send)
        self._parts.metrics.answered(route, answer.status)

    async def _live(self) -> Answer:
        return answers.json_answer(200, self._parts.heart.facts())

    async def _ready(self) -> Answer:
        ok, content = await self._parts.readiness()
        self._parts.metrics.ready.set(ok)
        if ok is not self._was_ready:
            self._was_ready = ok
            self._parts.log.event("ready" if ok else "not ready", level="info" if ok else "warning", **content["parts"])
        return answers.json_answer(200 if ok else 503, content)

    async def _metrics(self) -> Answer:
        await self._ready()  # else the gauge would be as old as the last time that somebody asked
        metrics = self._parts.metrics
        metrics.in_flight.set(len(self._parts.flights))
        metrics.draining.set(self._parts.flights.draining)
        metrics.log_dropped.set(self._parts.log.dropped)
        return Answer(200, ((b"content-type", CONTENT_TYPE.encode()),), metrics.text())


async def read(receive: Receive, scope: Scope, limit_bytes: int) -> bytes:
    """Return the whole body; raise `Refusal` above the limit and `Gone` when the caller leaves."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit_bytes:
            raise Refusal(answers.too_large(limit_bytes))
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit_bytes:
            raise Refusal(answers.too_large(limit_bytes))
        if not message["more_body"]:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def chunks(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the chunks that hold something; however it ends, the source is closed, and with it the upstream."""
    try:
        async for chunk in body:
            if chunk:
                yield chunk
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
