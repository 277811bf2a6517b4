"""The admin API of a running simulator: what it does now, for callers on this machine or in named networks.

GET|PUT|DELETE /admin/faults    GET|PUT /admin/latency, /admin/dialect    GET /admin/stats    POST /admin/reset
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from tailrace.simulator import api_errors
from tailrace.simulator.access_log import AccessLog
from tailrace.simulator.api_request import ApiRequest
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.dialect import Dialect
from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Latency
from tailrace.simulator.provider import SimulatedProvider
from tailrace.simulator.settings import Network

PREFIX = "/admin/"
PROXIED = frozenset({"forwarded", "origin", "via", "x-forwarded-for"})
"""Headers of proxies and browsers: the peer is on loopback, but the caller may not be."""
_FAULTS = TypeAdapter(tuple[Fault, ...])


def trusted(peer: str, networks: Sequence[Network] = ()) -> bool:
    """Return whether an address is in this machine's loopback or in `networks`; IPv4 in IPv6 included."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or any(address in network for network in networks)


class Admin:
    """The actions of the admin API."""

    def __init__(self, provider: SimulatedProvider, access_log: AccessLog, networks: Sequence[Network] = ()) -> None:
        self._provider, self._access_log, self._networks = provider, access_log, networks
        self._routes: dict[str, dict[str, Callable[[bytes], Any]]] = {
            "faults": {"GET": self._faults, "PUT": self._set_faults, "DELETE": self._clear_faults},
            "latency": {"GET": self._latency, "PUT": self._set_latency},
            "dialect": {"GET": self._dialect, "PUT": self._set_dialect},
            "stats": {"GET": lambda _: self._access_log.describe()},
            "reset": {"POST": self._reset},
        }

    def respond(self, request: ApiRequest, peer: str) -> ApiResponse:
        """Perform the request's action, or return an error."""
        try:
            return ApiResponse(orjson.dumps(self._act(request, peer)))
        except api_errors.ApiError as error:
            return error.response
        except ValidationError as error:
            return api_errors.ApiError(400, problems(error), code="invalid_value").response

    def _act(self, request: ApiRequest, peer: str) -> Any:
        if not trusted(peer, self._networks):
            also = "".join(f" and {network}" for network in self._networks) or " only"
            raise api_errors.ApiError(403, f"The admin path is for loopback{also}; this call came from {peer}.")
        if not PROXIED.isdisjoint(request.headers):
            raise api_errors.ApiError(403, "The admin path is for direct calls only; this one came through a proxy.")
        actions = self._routes.get(request.path.removeprefix(PREFIX))
        if actions is None:
            raise api_errors.no_path(request.method, request.path)
        if request.method not in actions:
            raise api_errors.no_method(request.method, request.path, ", ".join(actions))
        return actions[request.method](request.body)

    def _faults(self, _: bytes) -> Any:
        return self._provider.script.describe()

    def _set_faults(self, body: bytes) -> Any:
        self._provider.script.set(_FAULTS.validate_json(body))
        return self._provider.script.describe()

    def _clear_faults(self, _: bytes) -> Any:
        self._provider.script.set(())
        return []

    def _latency(self, _: bytes) -> Any:
        return self._provider.pace.latency.model_dump()

    def _set_latency(self, body: bytes) -> Any:
        """Change the fields in the body; the others stay as they are."""
        changes = Latency.model_validate_json(body).model_dump(exclude_unset=True)
        self._provider.pace.latency = self._provider.pace.latency.model_copy(update=changes)
        return self._latency(body)

    def _dialect(self, _: bytes) -> Any:
        return self._provider.dialect.model_dump()

    def _set_dialect(self, body: bytes) -> Any:
        """Change the fields in the body; the others stay as they are."""
        changes = Dialect.model_validate_json(body).model_dump(exclude_unset=True)
        self._provider.dialect = self._provider.dialect.model_copy(update=changes)
        return self._dialect(body)

    def _reset(self, _: bytes) -> Any:
        self._provider.reset()
        self._access_log.reset()
        return self._access_log.describe()


def problems(error: ValidationError) -> str:
    """Return the problems of a fault, a latency or a dialect on one line."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'body'}: {detail['msg']}" for detail in error.errors(include_url=False)
    )
