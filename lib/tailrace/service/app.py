"""The ASGI app: routes requests to handlers, and accounts for each in the log and the metrics.

`/v1/*` and `/ask` are forwarded: counted, limited, and cancelled when the caller leaves. `/healthz`, `/readyz` and
`/metrics` never wait for a forwarded request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import openai

from tailrace.protocol.failures import CUT_STREAM
from tailrace.service import http_response
from tailrace.service.components import Components, Handler, Scope
from tailrace.service.event_stream import Lines, StreamCut
from tailrace.service.http_response import HttpError, HttpResponse
from tailrace.service.in_flight import DisconnectWatch
from tailrace.service.metrics import CONTENT_TYPE, LOOKUPS
from tailrace.service.request_body import ClientDisconnected, Receive
from tailrace.service.request_context import RequestContext, begin, request_id, route_of

Send = Callable[[Any], Awaitable[None]]

CLOSED_BY_CALLER = 499
"""Status in logs and metrics only: the caller is no longer there to receive it."""


class App:
    """The service as an ASGI 3 application."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._was_ready: bool | None = None
        self._operational = {"/healthz": self._live, "/readyz": self._ready, "/metrics": self._metrics}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path.startswith("/v1/"):
            await self._forward(self._components.forward, begin(scope, route_of(path)), scope, receive, send)
        elif path == "/ask" and scope["method"] == "POST":
            await self._forward(self._components.ask, begin(scope, "/ask"), scope, receive, send)
        else:
            await self._handle_operational(path, scope, send)

    async def _forward(
        self, handler: Handler, context: RequestContext, scope: Scope, receive: Receive, send: Send
    ) -> None:  # fmt: skip
        task = asyncio.current_task()
        assert task is not None
        in_flight = self._components.in_flight
        in_flight.add(task)
        bodies = self._components.bodies
        watch, body = None, b""
        try:
            body = await bodies.read(receive, scope)
            if len(in_flight) - bodies.reading > self._components.max_in_flight:
                raise HttpError(http_response.overloaded("as many requests in flight as it may have"))
            watch = DisconnectWatch(receive, task)
            response = await handler(scope, body)
            await self._send(response, context, send, watch, scope["path"])
        except HttpError as error:
            await self._send(error.response, context, send)
        except StreamCut:
            context.outcome = "error"
            context.error_type = context.call.error_type if context.call is not None else ""
            context.error_type = context.error_type or CUT_STREAM  # a caller who shared it has a good row of his own
        except ClientDisconnected:
            context.outcome, context.status = "cancelled", CLOSED_BY_CALLER
        except asyncio.CancelledError:
            await self._cancelled(task, watch, context, send)
        except Exception as error:
            await self._failed(error, context, send)
        finally:
            if watch is not None:
                watch.stop()
            in_flight.remove(task)
            bodies.release(body)
            try:
                self._record(context)
            except Exception as error:  # the answer is out, and its connection is to serve the next one
                self._components.log.error("not accounted", error, request_id=context.request_id)

    async def _send(
        self, response: HttpResponse, context: RequestContext, send: Send, watch: DisconnectWatch | None = None,
        path: str = "",
    ) -> None:  # fmt: skip
        context.status = response.status
        context.outcome = response.outcome
        response = self._components.held_keys.hidden(response)
        headers = [*response.headers, (b"x-request-id", context.request_id.encode())]
        if self._components.in_flight.draining:
            headers.append((b"connection", b"close"))
        body = response.body
        if isinstance(body, bytes):
            if watch is not None:
                watch.stop()
            if response.status not in (204, 304):
                headers.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        if http_response.is_event_stream(response):
            await self._send_events(body, path, send, watch)
        else:
            async with aclosing(chunks(body)) as stream:
                async for chunk in stream:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if watch is not None:
            watch.stop()
        await send({"type": "http.response.body", "body": b""})

    async def _send_events(
        self, body: AsyncIterator[bytes], path: str, send: Send, watch: DisconnectWatch | None
    ) -> None:  # fmt: skip
        """Send an event stream; one that is cut gets an error event first, then the exception is raised."""
        lines, hidden = Lines(), self._components.held_keys.in_lines
        try:
            async with aclosing(chunks(body)) as stream:
                async for chunk in stream:
                    if whole := lines.feed(chunk):
                        await send({"type": "http.response.body", "body": hidden(whole), "more_body": True})
            if getattr(body, "cut", False):
                raise StreamCut
        except BaseException as error:
            if isinstance(error, Exception) and getattr(body, "over", False):
                return  # all of the answer is there
            if not (watch is not None and watch.disconnected):
                event = lines.error(path, *http_response.cut(error))
                await send({"type": "http.response.body", "body": event, "more_body": True})
            if isinstance(error, openai.APIError):
                raise StreamCut from error
            raise
        if rest := lines.close():
            await send({"type": "http.response.body", "body": hidden(rest), "more_body": True})

    async def _cancelled(
        self, task: asyncio.Task[Any], watch: DisconnectWatch | None, context: RequestContext, send: Send
    ) -> None:  # fmt: skip
        if watch is not None and watch.disconnected:
            task.uncancel()
            context.outcome, context.status = "cancelled", CLOSED_BY_CALLER
            return
        if not self._components.in_flight.was_cut(task):
            raise asyncio.CancelledError
        task.uncancel()
        if not context.status:
            await self._send(http_response.draining(), context, send)
        context.outcome = "cut"

    async def _failed(self, error: Exception, context: RequestContext, send: Send) -> None:
        """Log `error`, and answer 500 if no response has begun; else the incomplete response ends the connection."""
        context.error_type = type(error).__name__
        self._components.log.error("failed", error, request_id=context.request_id, route=context.route)
        if not context.status:
            await self._send(http_response.internal_error(), context, send)
        context.outcome = "error"

    def _record(self, context: RequestContext) -> None:
        duration_s = time.perf_counter() - context.started_s
        call = context.call
        if not context.outcome or (call is not None and call.outcome == "error" and context.outcome in LOOKUPS):
            context.outcome = "error"  # also of an answer that began well: an error in its stream, or an empty one
        if context.outcome == "error":
            self._components.metrics.count_failure(context.status, call.error_type if call is not None else "")
        self._components.metrics.observe_request(context.outcome, duration_s)
        self._components.metrics.count_response(context.route, context.status)
        self._components.log.event("request", **context.log_fields(duration_s))

    async def _handle_operational(self, path: str, scope: Scope, send: Send) -> None:
        handler = self._operational.get(path)
        if handler is not None and scope["method"] in ("GET", "HEAD"):
            response, route = await handler(), path
        elif handler is not None:
            response, route = http_response.not_allowed("GET", "HEAD"), path
        elif path == "/ask":
            response, route = http_response.not_allowed("POST"), path
        else:
            response, route = http_response.not_found(), "other"
        context = RequestContext(request_id(scope["headers"]), scope["method"], route)
        await self._send(response, context, send)
        self._components.metrics.count_response(route, response.status)

    async def _live(self) -> HttpResponse:
        return http_response.json_response(200, self._components.loop_monitor.facts())

    async def _ready(self) -> HttpResponse:
        ok, content = await self._components.readiness()
        self._components.metrics.ready.set(ok)
        if ok is not self._was_ready:
            self._was_ready = ok
            self._components.log.event(
                "ready" if ok else "not ready", level="info" if ok else "warning", **content["parts"]
            )
        return http_response.json_response(200 if ok else 503, content)

    async def _metrics(self) -> HttpResponse:
        await self._ready()  # else the gauge would be as old as the last probe
        metrics = self._components.metrics
        metrics.in_flight.set(len(self._components.in_flight))
        metrics.draining.set(self._components.in_flight.draining)
        metrics.log_dropped.set(self._components.log.dropped)
        return HttpResponse(200, ((b"content-type", CONTENT_TYPE.encode()),), metrics.text())


async def chunks(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Yield the chunks that are not empty, and close the source at the end, and with it the upstream request."""
    try:
        async for chunk in body:
            if chunk:
                yield chunk
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            await close()
