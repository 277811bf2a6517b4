"""Drop-in replacements for the official SDK's clients, with a transport that follows a policy.

They add no method. Everything that the SDK can do keeps working, and its types hold.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, Final, TypedDict

import httpx2
import openai
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from openai.resources import AsyncChat, AsyncEmbeddings, Chat, Embeddings
from openai.resources.responses import AsyncResponses, Responses
from typing_extensions import Unpack

from tailrace.client import errors
from tailrace.client.event_loops import LoopTransport
from tailrace.client.policy import Policy
from tailrace.client.sdk.fast_path import FastPath
from tailrace.client.sdk.resources import awith_fast_path, put_fast_path, with_fast_path
from tailrace.client.transports import AsyncSend, AsyncTransport, Send, Transport

OWN: Final = "_tailrace_own"
"""Marks an HTTP client that was made here: nobody else has set headers, hooks or cookies on it."""


class Arguments(TypedDict, total=False):
    """The SDK's arguments that its two clients share."""

    admin_api_key: str | None
    organization: str | None
    project: str | None
    webhook_secret: str | None
    base_url: str | httpx2.URL | None
    websocket_base_url: str | httpx2.URL | None
    timeout: float | httpx2.Timeout | None
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None


class AsyncOpenAI(openai.AsyncOpenAI):
    """`openai.AsyncOpenAI` under `policy`; all other arguments are the SDK's.

    Your own `http_client` keeps its settings and connections, and is not changed. The SDK's retries are off;
    `max_retries` turns them on with a warning, because attempts multiply.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        api_key: str | Callable[[], Awaitable[str]] | None = None,
        http_client: httpx2.AsyncClient | None = None,
        **arguments: Unpack[Arguments],
    ) -> None:
        http = http_client or DefaultAsyncHttpxClient()
        own = http_client is None or getattr(http_client, OWN, False)
        if not isinstance(http._transport, AsyncTransport):
            below, http = http, copy.copy(http)
            lean = _lean_async_sender() if own and not below._mounts else None  # httpx2 knows how to use proxies
            http._transport = AsyncTransport(policy or Policy(), _below_async(below, own), lean)
            http._mounts = {}
            setattr(http, OWN, own)
        self.policy: Policy = http._transport.policy
        arguments["max_retries"] = _checked_retries(arguments.get("max_retries", 0), self.policy)
        super().__init__(api_key=api_key, http_client=http, **arguments)
        self._fast_path = FastPath(self, http._transport.driver.pipeline) if own else None

    @cached_property
    def chat(self) -> AsyncChat:
        chat = super().chat
        if not self.policy.empty:
            put_fast_path(chat.completions, "chat", self._fast_path, awith_fast_path)
        return chat

    @cached_property
    def responses(self) -> AsyncResponses:
        responses = super().responses
        if not self.policy.empty:
            put_fast_path(responses, "responses", self._fast_path, awith_fast_path)
        return responses

    @cached_property
    def embeddings(self) -> AsyncEmbeddings:
        embeddings = super().embeddings
        if not self.policy.empty:
            put_fast_path(embeddings, "embeddings", self._fast_path, awith_fast_path)
        return embeddings

    def _make_status_error(self, err_msg: str, *, body: object, response: httpx2.Response) -> openai.APIStatusError:
        return errors.traced(super()._make_status_error(err_msg, body=body, response=response))

    async def _process_response(self, **arguments: Any) -> Any:
        try:
            return await super()._process_response(**arguments)
        except RecursionError:
            raise errors.too_deep() from None


class OpenAI(openai.OpenAI):
    """`openai.OpenAI` under `policy`; all other arguments are the SDK's. See `AsyncOpenAI`."""

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        api_key: str | Callable[[], str] | None = None,
        http_client: httpx2.Client | None = None,
        **arguments: Unpack[Arguments],
    ) -> None:
        http = http_client or DefaultHttpxClient()
        own = http_client is None or getattr(http_client, OWN, False)
        if not isinstance(http._transport, Transport):
            below, http = http, copy.copy(http)
            lean = _lean_sender() if own and not below._mounts else None
            http._transport, http._mounts = Transport(policy or Policy(), _Below(below), lean), {}
            setattr(http, OWN, own)
        self.policy: Policy = http._transport.policy
        arguments["max_retries"] = _checked_retries(arguments.get("max_retries", 0), self.policy)
        super().__init__(api_key=api_key, http_client=http, **arguments)
        self._fast_path = FastPath(self, http._transport.driver.pipeline) if own else None

    @cached_property
    def chat(self) -> Chat:
        chat = super().chat
        if not self.policy.empty:
            put_fast_path(chat.completions, "chat", self._fast_path, with_fast_path)
        return chat

    @cached_property
    def responses(self) -> Responses:
        responses = super().responses
        if not self.policy.empty:
            put_fast_path(responses, "responses", self._fast_path, with_fast_path)
        return responses

    @cached_property
    def embeddings(self) -> Embeddings:
        embeddings = super().embeddings
        if not self.policy.empty:
            put_fast_path(embeddings, "embeddings", self._fast_path, with_fast_path)
        return embeddings

    def _make_status_error(self, err_msg: str, *, body: object, response: httpx2.Response) -> openai.APIStatusError:
        return errors.traced(super()._make_status_error(err_msg, body=body, response=response))

    def _process_response(self, **arguments: Any) -> Any:
        try:
            return super()._process_response(**arguments)
        except RecursionError:
            raise errors.too_deep() from None


class _AsyncBelow(httpx2.AsyncBaseTransport):
    """The transports of a client, its proxies among them, as one."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._client._transport_for_url(request.url).handle_async_request(request)

    @property
    def transports(self) -> tuple[httpx2.AsyncBaseTransport, ...]:
        others = (transport for transport in self._client._mounts.values() if transport is not None)
        return (self._client._transport, *others)

    async def aclose(self) -> None:
        await self._client.aclose()


def _below_async(client: httpx2.AsyncClient, own: bool) -> httpx2.AsyncBaseTransport:
    """Return what sends requests below the policy: `client`; if it is our own, one like it for each further loop."""
    if not own:
        return _AsyncBelow(client)
    first = [client]
    return LoopTransport(lambda: _AsyncBelow(first.pop() if first else DefaultAsyncHttpxClient()))


class _Below(httpx2.BaseTransport):
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._client._transport_for_url(request.url).handle_request(request)

    def close(self) -> None:
        self._client.close()


def _lean_sender() -> Send | None:
    """Return a sender over sockets, with the TLS settings of httpx2; None where httptools is not installed."""
    try:
        from tailrace.client.senders.sockets import SocketSender
    except ImportError:
        return None
    return SocketSender(connections=1000, tls=httpx2.create_ssl_context)


def _lean_async_sender() -> AsyncSend | None:
    """Return a sender with aiohttp, with the TLS settings of httpx2; None where aiohttp is not installed."""
    try:
        from tailrace.client.senders.aiohttp import AiohttpSender
    except ImportError:
        return None
    return AiohttpSender(connections=1000, tls=httpx2.create_ssl_context)


def _checked_retries(max_retries: int, policy: Policy) -> int:
    """Return `max_retries`; warn when the policy retries as well."""
    if max_retries and policy.retry is not None:
        warnings.warn(
            f"max_retries={max_retries} and Policy(retry=…) multiply: up to "
            f"{(max_retries + 1) * policy.retry.attempts} attempts for one call; leave max_retries out, or give "
            "Policy(retry=None)",
            RuntimeWarning,
            stacklevel=3,
        )
    return max_retries
