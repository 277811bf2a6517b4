"""The admin path: faults, latency and counts while running; for callers on this machine, and where else it was told.

GET|PUT|DELETE /admin/faults    GET|PUT /admin/latency    GET /admin/stats    POST /admin/reset
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from tailrace.simulator import refusals
from tailrace.simulator.answers import Answer
from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Latency
from tailrace.simulator.ledger import Ledger
from tailrace.simulator.provider import Provider
from tailrace.simulator.requests import Request
from tailrace.simulator.settings import Network

PREFIX = "/admin/"
PASSED_ON = frozenset({"forwarded", "origin", "via", "x-forwarded-for"})
"""Headers of proxies and browsers: the peer is on loopback, but who asks may not be."""
_FAULTS = TypeAdapter(tuple[Fault, ...])


def trusted(peer: str, networks: Sequence[Network] = ()) -> bool:
    """Say whether an address is of this machine's loopback, or of `networks`; IPv4 in IPv6 included."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or any(address in network for network in networks)


class Admin:
    """What can be asked of a running simulator."""

    def __init__(self, provider: Provider, ledger: Ledger, networks: Sequence[Network] = ()) -> None:
        self._provider, self._ledger, self._networks = provider, ledger, networks
        self._routes: dict[str, dict[str, Callable[[bytes], Any]]] = {
            "faults": {"GET": self._faults, "PUT": self._set_faults, "DELETE": self._clear_faults},
            "latency": {"GET": self._latency, "PUT": self._set_latency},
            "stats": {"GET": lambda _: self._ledger.describe()},
            "reset": {"POST": self._reset},
        }

    def answer(self, request: Request, peer: str) -> Answer:
        """Do what is asked, or refuse it."""
        try:
            return Answer(orjson.dumps(self._act(request, peer)))
        except refusals.Refusal as refusal:
            return refusal.answer
        except ValidationError as error:
            return refusals.Refusal(400, explained(error), code="invalid_value").answer

    def _act(self, request: Request, peer: str) -> Any:
        if not trusted(peer, self._networks):
            also = "".join(f" and {network}" for network in self._networks) or " only"
            raise refusals.Refusal(403, f"The admin path is for loopback{also}; this call came from {peer}.")
        if not PASSED_ON.isdisjoint(request.headers):
            raise refusals.Refusal(403, "The admin path is for direct calls only; this one came through a proxy.")
        actions = self._routes.get(request.path.removeprefix(PREFIX))
        if actions is None:
            raise refusals.no_path(request.method, request.path)
        if request.method not in actions:
            raise refusals.no_method(request.method, request.path, ", ".join(actions))
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
        """Take the fields that are given; the others stay as they are."""
        given = Latency.model_validate_json(body).model_dump(exclude_unset=True)
        self._provider.pace.latency = self._provider.pace.latency.model_copy(update=given)
        return self._latency(body)

    def _reset(self, _: bytes) -> Any:
        self._provider.reset()
        self._ledger.reset()
        return self._ledger.describe()


def explained(error: ValidationError) -> str:
    """Return what is wrong with a fault or a latency, on one line."""
    return "; ".join(
        f"{'.'.join(map(str, detail['loc'])) or 'body'}: {detail['msg']}" for detail in error.errors(include_url=False)
    )
