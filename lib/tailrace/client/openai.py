"""Drop-ins for the official SDK: the same classes, with a transport that follows a policy.

They add no method. Everything that the SDK can do keeps working, and its type checking holds.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Final, TypedDict

import httpx2
import openai
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from openai.resources import AsyncChat, AsyncEmbeddings, Chat, Embeddings
from openai.resources.responses import AsyncResponses, Responses
from typing_extensions import Unpack

from tailrace.client import errors
from tailrace.client.policy import Policy
from tailrace.client.sdk.recall import Recall
from tailrace.client.sdk.resources import arecalled, recalled, shortened
from tailrace.client.transports import AsyncSend, AsyncTransport, Send, Transport

OWN: Final = "_tailrace_own"
"""Marks an HTTP client that was made here, so that nobody else has set headers, hooks or cookies on it."""


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

    An `http_client` of yours keeps its settings and connections, and is not changed itself. The SDK's own retries
    are off; asked for by `max_retries`, they come with a warning, because attempts multiply.
    """

    def __init__(
        self,
        *,
        policy: Policy | None = None,
        api_key: str | Callable[[], Awaitable[str]] | None = None,
        http_client: httpx2.AsyncClient | None = None,
        **arguments: Unpack[Arguments],
    ) -> None:
        given = http_client or DefaultAsyncHttpxClient()
        own = http_client is None or getattr(http_client, OWN, False)
        if not isinstance(given._transport, AsyncTransport):
            below, given = given, copy.copy(given)
            lean = _lean_async_sender() if own and not below._mounts else None  # proxies are httpx2's own business
            given._transport = AsyncTransport(policy or Policy(), _AsyncBelow(below), lean)
            given._mounts = {}
            setattr(given, OWN, own)
        self.policy: Policy = given._transport.policy
        arguments["max_retries"] = _retries(arguments.get("max_retries", 0), self.policy)
        super().__init__(api_key=api_key, http_client=given, **arguments)
        self._recall = Recall(self, given._transport.driver.engine) if own else None

    @cached_property
    def chat(self) -> AsyncChat:
        chat = super().chat
        if not self.policy.empty:
            shortened(chat.completions, "chat", self._recall, arecalled)
        return chat

    @cached_property
    def responses(self) -> AsyncResponses:
        found = super().responses
        return found if self.policy.empty else shortened(found, "responses", self._recall, arecalled)

    @cached_property
    def embeddings(self) -> AsyncEmbeddings:
        found = super().embeddings
        return found if self.policy.empty else shortened(found, "embeddings", self._recall, arecalled)

    def _make_status_error(self, err_msg: str, *, body: object, response: httpx2.Response) -> openai.APIStatusError:
        return errors.traced(super()._make_status_error(err_msg, body=body, response=response))


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
        given = http_client or DefaultHttpxClient()
        own = http_client is None or getattr(http_client, OWN, False)
        if not isinstance(given._transport, Transport):
            below, given = given, copy.copy(given)
            lean = _lean_sender() if own and not below._mounts else None
            given._transport, given._mounts = Transport(policy or Policy(), _Below(below), lean), {}
            setattr(given, OWN, own)
        self.policy: Policy = given._transport.policy
        arguments["max_retries"] = _retries(arguments.get("max_retries", 0), self.policy)
        super().__init__(api_key=api_key, http_client=given, **arguments)
        self._recall = Recall(self, given._transport.driver.engine) if own else None

    @cached_property
    def chat(self) -> Chat:
        chat = super().chat
        if not self.policy.empty:
            shortened(chat.completions, "chat", self._recall, recalled)
        return chat

    @cached_property
    def responses(self) -> Responses:
        found = super().responses
        return found if self.policy.empty else shortened(found, "responses", self._recall, recalled)

    @cached_property
    def embeddings(self) -> Embeddings:
        found = super().embeddings
        return found if self.policy.empty else shortened(found, "embeddings", self._recall, recalled)

    def _make_status_error(self, err_msg: str, *, body: object, response: httpx2.Response) -> openai.APIStatusError:
        return errors.traced(super()._make_status_error(err_msg, body=body, response=response))


class _AsyncBelow(httpx2.AsyncBaseTransport):
    """The transports of a client, its proxies among them, as one."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._client._transport_for_url(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        await self._client.aclose()


class _Below(httpx2.BaseTransport):
    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._client._transport_for_url(request.url).handle_request(request)

    def close(self) -> None:
        self._client.close()


def _lean_sender() -> Send | None:
    """Return attempts by sockets where httptools is installed, with the TLS settings of httpx2."""
    try:
        from tailrace.client.senders.sockets import SocketSender
    except ImportError:
        return None
    return SocketSender(connections=1000, tls=httpx2.create_ssl_context)


def _lean_async_sender() -> AsyncSend | None:
    """Return attempts by aiohttp where it is installed, with the TLS settings of httpx2."""
    try:
        from tailrace.client.senders.aiohttp import AiohttpSender
    except ImportError:
        return None
    return AiohttpSender(connections=1000, tls=httpx2.create_ssl_context)


def _retries(asked: int, policy: Policy) -> int:
    if asked and policy.retry is not None:
        warnings.warn(
            f"max_retries={asked} and Policy(retry=…) multiply: up to {(asked + 1) * policy.retry.attempts} attempts "
            "for one call; leave max_retries out, or give Policy(retry=None)",
            RuntimeWarning,
            stacklevel=3,
        )
    return asked
