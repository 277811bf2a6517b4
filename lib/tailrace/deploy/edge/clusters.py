"""The clusters of the edge: where the instance of each colour is, and how it is asked for its health.

Each colour has two clusters: `blue` and `green` carry what comes in through the front door, `preview-blue` and
`preview-green` everything else, so that the counters of the former hold nothing but traffic. The file of clusters says
how the release in each slot is spoken to, the file of a colour where its instance is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tailrace import profile
from tailrace.deploy.edge import envoy
from tailrace.deploy.edge.envoy import TYPE, Document, discovered, file, socket
from tailrace.deploy.edge.layout import NOBODY, Address, Layout
from tailrace.deploy.edge.route_file import COLOURS


@dataclass(frozen=True)
class Upstream:
    """An instance as the edge reaches it: its address, and what its release says of its health checks."""

    address: Address
    health: profile.Health = field(default_factory=profile.Health)


def endpoints(colour: str, address: Address | None, held: bool = False) -> str:
    """Return the file with the one endpoint of `colour`, or with none.

    While it is `held`, new requests go to an address that refuses them, and are retried. The endpoint itself stays in
    the file, so that its health is known at once when it is back.
    """
    assignment: Document = {"@type": f"{TYPE}.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": colour}
    if address is not None:
        listed: list[Document] = [{"endpoint": {"address": socket(address)}}]
        if held:
            refusing = {"address": socket(NOBODY), "health_check_config": {"disable_active_health_check": True}}
            listed = [{**listed[0], "health_status": "DRAINING"}, {"endpoint": refusing}]
        assignment["endpoints"] = [{"lb_endpoints": listed}]
    return discovered(assignment)


def document(health: Mapping[str, profile.Health], layout: Layout) -> str:
    """Return the file of all clusters; `health` says how the release of each colour is checked."""
    return discovered(
        *(cluster(name, colour, health[colour], layout) for colour in COLOURS for name in (colour, f"preview-{colour}"))
    )


def read(path: Path) -> dict[str, profile.Health]:
    """Return how the release of each colour is checked, as the file says; raises EdgeRejected when it is damaged."""
    found = {one["name"]: one["metadata"]["filter_metadata"]["tailrace"] for one in envoy.read(path)["resources"]}
    return {colour: profile.Health.model_validate(found[colour]["health"]) for colour in COLOURS}


def cluster(name: str, colour: str, health: profile.Health, layout: Layout) -> Document:
    unlimited = {
        "max_connections": 100_000,
        "max_pending_requests": 100_000,
        "max_requests": 100_000,
        "max_retries": 100_000,
    }
    # Shorter than any server's own keep-alive: otherwise a request may meet a connection that is being closed.
    connections: Document = {"idle_timeout": "1s", "max_headers_count": 1000, "max_response_headers_kb": 1024}
    if not layout.settings.reuse_connections:
        connections["max_requests_per_connection"] = 1
    protocol = {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": connections,
        "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
    }
    cluster: Document = {
        "@type": f"{TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"service_name": colour, "eds_config": file(layout, colour)},
        "circuit_breakers": {"thresholds": [unlimited]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        # No window: otherwise the workers learn of an endpoint's health up to a second after the admin port does.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "ignore_health_on_host_removal": True,
        # What this cluster was made of, for whoever changes the other colour's.
        "metadata": {"filter_metadata": {"tailrace": {"health": health.model_dump(mode="json")}}},
    }
    if name == colour:
        cluster["health_checks"] = [_health_check(health)]
    return cluster


def _health_check(health: profile.Health) -> Document:
    """Check the live path, never the ready path: an outage behind the service must not take the colour out."""
    return {
        "timeout": "2s", "interval": "0.25s", "no_traffic_interval": "0.25s", "unhealthy_interval": "0.25s",
        "initial_jitter": "0.001s", "unhealthy_threshold": 3, "healthy_threshold": 1,
        "http_health_check": {"path": health.live},
    }  # fmt: skip
