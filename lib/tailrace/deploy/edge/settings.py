"""The edge's settings in the profile: what of them does not hold at a running edge, and how it is brought to them."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tailrace.deploy.edge import counters, layout, tls
from tailrace.deploy.edge.layout import Address
from tailrace.errors import EdgeRejected
from tailrace.host import files, ports, waiting

if TYPE_CHECKING:
    from tailrace.deploy.edge.proxy import Edge

TAKE_TIMEOUT_S = 10.0
UNUSED_S = 2.0
"""For so long nobody has used a former front door when it is closed."""
OTHER_VERSION = "the edge's files were written by another version of tailrace"


def drift(edge: Edge) -> list[str]:
    """Return what of the profile does not hold at the edge, one fact for each setting."""
    found = [f"edge.{name} is {here}, in the profile {there}" for name, here, there in _differences(edge)]
    return found or ([] if edge.configuration.is_current() else [OTHER_VERSION])


def changes(edge: Edge) -> list[str]:
    """Return the same as what `apply` changes."""
    found = [f"edge.{name} {there} (was {here})" for name, here, there in _differences(edge)]
    return found or ["the files of another version of tailrace are replaced"]


def _differences(edge: Edge) -> list[tuple[str, str, str]]:
    """Return the name of each setting that differs, its value at the edge, and that of the profile."""
    now, intended = edge.layout, edge.intended
    here, there = now.settings, intended.settings
    values: dict[str, tuple[Any, Any]] = {
        name: (getattr(here, name), getattr(there, name)) for name in type(here).model_fields
    }
    values["host"] = (now.ingress.host, intended.ingress.host)
    values["port"] = (now.ingress.port, intended.ingress.port)
    return [(name, _shown(a), _shown(b)) for name, (a, b) in values.items() if a != b]


def apply(edge: Edge) -> Edge:
    """Bring the running edge to the settings of the profile, and return it as it is then. Raises EdgeRejected.

    No request is lost: connections of a listener that has changed go on until their answer is complete. A front door
    at another address is opened beside the former one, which stays until `close_former`.
    """
    new, former = replace(edge, layout=edge.intended), edge.layout.ingress
    moved = new.layout.ingress != former
    # Envoy shares a port with another program of the same user, so it would not notice.
    if moved and new.layout.ingress.port != former.port and not edge.layout.bind and not _is_free(new.layout.ingress):
        raise EdgeRejected(f"edge: {new.layout.ingress} is taken by another program; see `ss -ltnp`, or set edge.port")
    paths = [edge.configuration.path(name) for name in ("clusters", tls.SECRET, "listeners")]
    before = {path: path.read_text(encoding="utf-8") for path in paths if path.exists()}
    try:
        new.configuration.write_clusters(edge.configuration.upstreams())
        await_taken(new, "clusters")
        new.configuration.write_listeners(edge.layout if moved else None)
        await_taken(new, "listeners")
        _await_certificate(new)
    except EdgeRejected:
        for path, content in before.items():
            files.write(path, content)
        raise
    layout.save(new.layout, edge.folder.parent / layout.NAME)
    return new


def close_former(edge: Edge, former: Address, timeout_s: float) -> str:
    """Close a former front door once nobody uses it, at the latest after `timeout_s`; return how that went."""
    readings: list[tuple[float, int]] = []

    def unused() -> bool:
        readings.append((time.monotonic(), counters.used(edge.layout.admin.url, former)))
        since = next((at for at, used in readings if used == readings[-1][1]), readings[-1][0])
        return readings[-1][0] - since >= UNUSED_S

    is_unused = waiting.until(unused, timeout_s, every_s=0.1)
    edge.configuration.write_listeners()
    await_taken(edge, "listeners")
    how = f"unused for {UNUSED_S:g} s" if is_unused else f"still used after {timeout_s:g} s"
    return f"{former} is closed: {how}"


def await_taken(edge: Edge, name: str) -> None:
    """Wait until the edge goes by its file of clusters or listeners; raises EdgeRejected with the edge's reason."""
    version, admin = edge.configuration.version(name), edge.layout.admin.url
    if waiting.until(lambda: counters.taken(admin, name, version), TAKE_TIMEOUT_S, every_s=0.005):
        return
    reason = counters.rejection(admin, name) or "it was started by another version of tailrace, or is very busy"
    raise EdgeRejected(
        f"the edge did not take its {name} within {TAKE_TIMEOUT_S:g} s: {reason}. Traffic is where it was; mend the "
        "profile, or replace the edge: `tailrace upgrade-edge`"
    )


def _await_certificate(edge: Edge) -> None:
    """Wait until the front door serves its certificate, where it has one: a listener is taken before that."""
    ingress, settings = edge.layout.ingress, edge.layout.settings.tls
    if settings and not waiting.until(lambda: tls.served(ingress, settings), TAKE_TIMEOUT_S, every_s=0.05):
        raise EdgeRejected(
            f"the front door at {ingress} does not serve {settings.certificate} after {TAKE_TIMEOUT_S:g} s. Traffic is "
            f"where it was; see the edge's log: {edge.server.log()}"
        )


def _is_free(address: Address) -> bool:
    return ports.is_free(address.host, address.port)


def _shown(value: Any) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
