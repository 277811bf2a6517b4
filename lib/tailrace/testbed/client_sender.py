"""The resilient client as a sender of the load generator: `sender="tailrace.testbed.client_sender:client"`.

Its options:

retry, cache          turn retries and the cache on; with both off it is the plain client
attempt_timeout_s     time limit of one attempt
deadline_s            time limit of the whole call
headers               additional ones, for every request; `${NAME}` is filled in from the environment
"""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import Mapping
from typing import Any, Final

import openai
import orjson
from openai.resources.chat.completions import AsyncCompletions

from tailrace import request_headers
from tailrace.client import AsyncOpenAI, Cache, Limits, Policy, Retry
from tailrace.client.call.prices import Prices
from tailrace.headers import ATTEMPTS, BACKOFF, CACHE, COLOUR, COST
from tailrace.load import RequestOutcome
from tailrace.load.answers import number
from tailrace.load.outcome import HITS
from tailrace.protocol import failures
from tailrace.protocol.answer import Answer, AnswerReader
from tailrace.protocol.body import read_body
from tailrace.protocol.usage import Usage

CLIENT_FORMS: Final[Mapping[str, Mapping[str, bool]]] = {
    "plain": {"retry": False, "cache": False},
    "retrying": {"retry": True, "cache": False},
    "cached": {"retry": False, "cache": True},
    "both": {"retry": True, "cache": True},
}
"""The client in its four forms."""
SENDER: Final = f"{__name__}:client"
"""What the load generator imports."""
MODEL: Final = "gpt-4o-mini"
_CHUNK = b'{"id":"","object":"chat.completion%b","created":0,"model":"%b","choices":[{"index":0,%b}],"usage":%b}'
_USAGE = b'{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
_WHOLE = b'"finish_reason":"stop","message":{"role":"assistant","content":"hello"}'
_RESPONSES: Final = (
    (b"application/json", _CHUNK % (b"", MODEL.encode(), _WHOLE, _USAGE)),
    (
        b"text/event-stream",
        b"data: "
        + _CHUNK % (b".chunk", MODEL.encode(), b'"delta":{"content":"hello"},"finish_reason":"stop"', _USAGE)
        + b"\n\ndata: [DONE]\n\n",
    ),
)
_PARAMETERS: Final = frozenset(inspect.signature(AsyncCompletions.create).parameters)
"""The fields of a body that the SDK knows; it takes others as `extra_body`."""
RETRY: Final = Retry(attempts=4, base_s=0.05, cap_s=1.0, budget=0.2)


def policy(*, retry: bool, cache: bool, attempt_timeout_s: float, deadline_s: float) -> Policy:
    """Return the policy of one form of the client."""
    return Policy(
        cache=Cache() if cache else None,
        retry=RETRY if retry else None,
        limits=Limits(deadline_s=deadline_s, attempt_timeout_s=attempt_timeout_s, breaker=None),
    )


async def client(options: Mapping[str, Any]) -> ClientSender:
    """Return the sender. The generator process calls this in its own event loop, before the schedule begins."""
    settings = {name: options[name] for name in ("retry", "cache", "attempt_timeout_s", "deadline_s")}
    await _rehearse(policy(**settings))
    # A simulator accepts any key; a service that wants a certain one gets it in a header, by the SDK's own name.
    headers = {name.title(): value for name, value in request_headers.filled(options.get("headers", {})).items()}
    sdk = AsyncOpenAI(
        policy=policy(**settings), base_url=options["url"], api_key="simulated", default_headers=headers or None
    )
    return ClientSender(sdk)


class ClientSender:
    """Send a body through the SDK with our transport, as an application would."""

    def __init__(self, sdk: AsyncOpenAI) -> None:
        self._sdk = sdk
        self._prices = Prices()

    async def __call__(self, seq: int, body: bytes, stream: bool) -> RequestOutcome:
        try:
            return await (self._streamed if stream else self._whole)(_arguments(body))
        except openai.APIStatusError as error:
            return _with_headers(RequestOutcome(f"http_{error.status_code}", error.status_code), error.response.headers)
        except openai.APITimeoutError as error:
            return RequestOutcome("timeout", attempts=getattr(error, "attempts", 1), cost_microusd=0)
        except openai.APIConnectionError as error:
            return RequestOutcome("connect", attempts=getattr(error, "attempts", 1), cost_microusd=0)
        except openai.APIError:  # the SDK raises the error that a stream holds
            return RequestOutcome(failures.ERROR_EVENT, 200)
        except ValueError:
            return RequestOutcome(failures.BAD_BODY, cost_microusd=0)

    async def aclose(self) -> None:
        await self._sdk.close()

    async def _whole(self, arguments: dict[str, Any]) -> RequestOutcome:
        raw = await self._sdk.chat.completions.with_raw_response.create(**arguments)
        byte_ns = time.perf_counter_ns()
        raw.parse()
        answer, status = read_body(raw.content, "chat"), raw.http_response.status_code
        return _with_headers(_outcome(answer, status, byte_ns), raw.headers)

    async def _streamed(self, arguments: dict[str, Any]) -> RequestOutcome:
        """Read a stream by the rules of the protocol, at the times when the SDK hands its chunks over.

        The SDK keeps the terminator to itself, so the finish reason tells the end.
        """
        reader, byte_ns = AnswerReader(streamed=True), 0
        raw = await self._sdk.chat.completions.with_raw_response.create(**arguments)
        async for chunk in raw.parse():
            now_ns = time.perf_counter_ns()
            byte_ns = byte_ns or now_ns
            document = chunk.model_dump_json(exclude_unset=True, warnings=False)
            reader.feed(b"data: %b\n\n" % document.encode(), now_ns)
        answer = reader.end(whole=True)
        return self._priced(_with_headers(_outcome(answer, 200, byte_ns), raw.headers), answer.model)

    def _priced(self, outcome: RequestOutcome, model: str) -> RequestOutcome:
        """Add the cost of a stream: it is not known yet when its headers are written."""
        if outcome.cost_microusd >= 0 or outcome.cache in HITS:
            return outcome
        usage = Usage(bool(outcome.out_tok), outcome.in_tok, outcome.out_tok, outcome.cached_tok)
        cost_usd = self._prices.cost_usd(model, str(self._sdk.base_url), usage)
        return outcome if cost_usd is None else outcome._replace(cost_microusd=round(cost_usd * 1e6))


async def _rehearse(chosen: Policy) -> None:
    """Make one call, plain and streamed, to a stub server, through a client like the one to come.

    At its first call the SDK builds its models and the price list is read: for 0.3 s nothing would be sent.
    """
    server = await asyncio.start_server(_respond, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sender = ClientSender(AsyncOpenAI(policy=chosen, base_url=f"http://127.0.0.1:{port}/v1", api_key="none"))
    async with server:
        for more in ({}, {"stream": True}):
            await sender(
                0,
                orjson.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **more}),
                bool(more),
            )
        await sender.aclose()


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]
    kind, body = _RESPONSES[b'"stream"' in await reader.readexactly(length)]
    writer.write(
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
        % (kind, len(body), body)
    )
    await writer.drain()
    writer.close()


def _arguments(body: bytes) -> dict[str, Any]:
    """Return the body as arguments of the SDK."""
    fields = orjson.loads(body)
    extra = {name: fields.pop(name) for name in fields.keys() - _PARAMETERS}
    return {**fields, "extra_body": extra} if extra else fields


def _outcome(answer: Answer, status: int, byte_ns: int) -> RequestOutcome:
    """Return the outcome of an answer whose last byte came just now."""
    usage = answer.usage
    return RequestOutcome(
        answer.failure, status, answer.first_token_ns, time.perf_counter_ns(), chunks=answer.chunks,
        in_tok=usage.in_tok, out_tok=usage.out_tok, cached_tok=usage.cached_tok, reasoning_tok=usage.reasoning_tok,
        byte_ns=byte_ns, answer_ns=answer.answer_token_ns, token_ns=answer.last_token_ns, gaps_us=answer.gaps_us,
    )  # fmt: skip


def _with_headers(outcome: RequestOutcome, headers: Mapping[str, str]) -> RequestOutcome:
    """Add what the transport wrote into the headers of the response."""
    return outcome._replace(
        cache=headers.get(CACHE, ""),
        colour=headers.get(COLOUR, ""),
        attempts=number(headers.get(ATTEMPTS), 1),
        backoff_us=number(headers.get(BACKOFF), 0),
        cost_microusd=number(headers.get(COST), 0 if outcome.error_type else -1),
    )
