"""Senders: async callables that send the n-th request and return its outcome.

`http` is built in. Any other is named `module:factory` and created by `factory(options)` in the worker; its result is
called as `await sender(seq, body, stream)` and returns a `RequestOutcome`. So the load generator can drive any client.
The options hold `url`, `timeout_s` and the caller's own, all JSON.
"""

from __future__ import annotations

import importlib
import inspect
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from tailrace import request_headers
from tailrace.errors import LoadError
from tailrace.headers import TENANT
from tailrace.load import bodies
from tailrace.load.answers import judge, reader_of
from tailrace.load.http1 import RESET, HttpAnswer
from tailrace.load.outcome import RequestOutcome
from tailrace.load.pool import ApiAddress, Pool, parse
from tailrace.load.workload import PlannedRequest, Workload

Plugin = Callable[[int, bytes, bool], Awaitable[RequestOutcome]]


class RequestSender(Protocol):
    """The interface that the dispatcher calls."""

    async def send(self, seq: int, request: PlannedRequest) -> RequestOutcome: ...

    async def close(self) -> None: ...


class HttpSender:
    """The lean HTTP/1.1 sender. Its options:

    connections       the most at a time, 4096
    headers           additional ones, for every request; `${NAME}` is filled in from the environment
    api_key_env       name of the environment variable with the API key
    tenant_key_envs   the same by tenant: {"acme": "ACME_API_KEY"}
    verify            TLS certificates: true, false, or a file of trusted ones
    """

    def __init__(self, url: str, workload: Workload, options: Mapping[str, Any]) -> None:
        unknown = set(options) - {"connections", "headers", "api_key_env", "tenant_key_envs", "verify"}
        if unknown:
            raise LoadError(f"sender http: unknown options {sorted(unknown)}")
        address = parse(url)
        own_path = workload.kind == "openai" and workload.path != bodies.PATHS[workload.endpoint]
        self._reader_of = reader_of("" if own_path else workload.endpoint) if workload.kind == "openai" else None
        tls = tls_context(address, options.get("verify", True))
        self._pool = Pool(address, tls, int(options.get("connections", 4096)))
        keys = options.get("tenant_key_envs", {})
        names = {"": options.get("api_key_env", ""), **{one.name: keys.get(one.name, "") for one in workload.tenants}}
        self._heads = {tenant: _head(address, workload, options, tenant, key_env) for tenant, key_env in names.items()}

    async def send(self, seq: int, request: PlannedRequest) -> RequestOutcome:
        head = f"{self._heads[request.tenant]}content-length: {len(request.body)}\r\n\r\n"
        message = head.encode("latin-1") + request.body
        while (answer := await self._answer(message)) is None:
            pass
        return judge(answer)

    async def close(self) -> None:
        self._pool.close()

    async def _answer(self, message: bytes) -> HttpAnswer | None:
        """Return the answer; None when the connection was one that its server does not keep (see `pool.Keeping`)."""
        connection = await self._pool.acquire()
        used, chunked, keeping = connection.answers, connection.chunked, self._pool.keeping
        try:
            answer = await connection.request(message, self._reader_of)
        except BaseException:
            connection.close()
            raise
        finally:
            self._pool.release(connection)
        if used:
            if answer.status:
                keeping.kept(chunked)
            elif answer.broken == RESET and not keeping.known(chunked):
                keeping.closed(chunked)
                return None
        return answer


class PluginSender:
    """A sender that is not part of tailrace."""

    def __init__(self, call: Plugin) -> None:
        self._call = call

    async def send(self, seq: int, request: PlannedRequest) -> RequestOutcome:
        return await self._call(seq, request.body, request.stream)

    async def close(self) -> None:
        closing = getattr(self._call, "aclose", None)
        if closing is not None:
            await closing()


async def build(name: str, url: str, workload: Workload, options: Mapping[str, Any]) -> RequestSender:
    """Return the sender called `name`; LoadError when there is none."""
    if name == "http":
        return HttpSender(url, workload, {key: value for key, value in options.items() if key != "timeout_s"})
    module, _, factory = name.partition(":")
    try:
        sender = getattr(importlib.import_module(module), factory)({"url": url, **options})
    except (ImportError, AttributeError, ValueError) as error:
        raise LoadError(f"sender {name!r}: {error}; expected http or module:factory") from error
    return PluginSender(await sender if inspect.isawaitable(sender) else sender)


def headers_of(
    address: ApiAddress, workload: Workload, options: Mapping[str, Any], tenant: str = "", key_env: str = ""
) -> dict[str, str]:
    """Return the headers of a tenant's requests, without their content-length, with the secrets filled in."""
    headers = {"host": address.authority, "accept": "*/*", "user-agent": "tailrace-load"}
    if workload.method != "GET":
        headers["content-type"] = "application/json"
    if tenant:
        headers[TENANT] = tenant
    if key_env := key_env or options.get("api_key_env", ""):
        if not os.environ.get(key_env):
            raise LoadError(f"the environment variable {key_env} is not set; it has to hold the API key")
        headers["authorization"] = f"Bearer {os.environ[key_env]}"
    headers |= request_headers.filled(options.get("headers", {}))
    if any(control in value for value in headers.values() for control in "\r\n"):
        raise LoadError("a header of the sender holds a line break")
    return headers


def _head(address: ApiAddress, workload: Workload, options: Mapping[str, Any], tenant: str, key_env: str) -> str:
    """Return the head of a tenant's requests, up to their content-length."""
    headers = headers_of(address, workload, options, tenant, key_env)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{workload.method} {address.target(workload.path)} HTTP/1.1\r\n{lines}"


def tls_context(address: ApiAddress, verify: bool | str) -> ssl.SSLContext | None:
    """Return how the address is trusted; None without TLS."""
    if not address.secure:
        return None
    if isinstance(verify, str) and not Path(verify).is_file():
        raise LoadError(f"sender http: the file of trusted certificates {verify} does not exist")
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
