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
from tailrace.deploy.edge import envoy, limits
from tailrace.deploy.edge.envoy import TYPE, Document, discovered, file, socket
from tailrace.deploy.edge.layout import ADMIN as ADMIN_SOCKET
from tailrace.deploy.edge.layout import NOBODY, Address, Layout
from tailrace.deploy.edge.route_file import COLOURS

PROTOCOLS: Mapping[str, Document] = {
    "http1": {"http_protocol_options": {"enable_trailers": True}},
    "h2c": {"http2_protocol_options": {"allow_connect": True}},
}
"""How the edge speaks to an instance, by the protocol of its release."""
ADMIN = "admin"
"""The name of the cluster that is the edge's own admin."""
CHECK_TIMEOUT_S = 2.0
"""How long the edge waits for the answer to a health check."""
CONNECT_TIMEOUT_S = 60
"""How long a request waits for its connection to an instance: one that is busy lets connections queue, and the kernel
leaves those beyond its queue to be tried again after 1, 3, 7, 15 and 31 s. A dead one refuses at once."""
TO_INSTANCE = limits.MAX_CONNECTIONS * 2 // 5
"""Connections to an instance: requests beyond wait for one. With those of the other colour, there are files for all."""
PANIC_PERCENT = 1
"""When less than this share of a colour's endpoints is healthy, all of them get requests: when none is."""


@dataclass(frozen=True)
class UpstreamSettings:
    """How the edge speaks to the instances of a release, and how it checks their health."""

    health: profile.Health = field(default_factory=profile.Health)
    protocol: profile.Protocol = "http1"


@dataclass(frozen=True)
class Upstream:
    """An instance as the edge reaches it: its address, the settings of its release, and the `Host` of its checks."""

    address: Address
    settings: UpstreamSettings = UpstreamSettings()
    host: str = "localhost"


def endpoints(colour: str, upstream: Upstream | None, held: bool = False) -> str:
    """Return the file with the one endpoint of `colour`, or with none.

    While it is `held`, new requests go to an address that refuses them, and are retried. The endpoint itself stays in
    the file, so that its health is known at once when it is back.
    """
    assignment: Document = {"@type": f"{TYPE}.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": colour}
    if upstream is not None:
        own = {"address": socket(upstream.address), "health_check_config": {"hostname": upstream.host}}
        listed: list[Document] = [{"endpoint": own}]
        if held:
            refusing = {"address": socket(NOBODY), "health_check_config": {"disable_active_health_check": True}}
            listed = [{**listed[0], "health_status": "DRAINING"}, {"endpoint": refusing}]
        assignment["endpoints"] = [{"lb_endpoints": listed}]
    return discovered(assignment)


def document(settings: Mapping[str, UpstreamSettings], layout: Layout) -> str:
    """Return the file of all clusters; `settings` are those of the release of each colour."""
    clusters = [
        cluster(name, colour, settings[colour], layout) for colour in COLOURS for name in (colour, f"preview-{colour}")
    ]
    return discovered(*clusters, *([_admin()] if layout.metrics else []))


def read(path: Path) -> dict[str, UpstreamSettings]:
    """Return the settings of each colour in the file of clusters; raises EdgeRejected when it is damaged."""
    found = {
        one["name"]: one["metadata"]["filter_metadata"]["tailrace"]
        for one in envoy.read(path)["resources"]
        if "metadata" in one
    }
    kept = {colour: found[colour] for colour in COLOURS}
    return {
        colour: UpstreamSettings(profile.Health.model_validate(own["health"]), own["protocol"])
        for colour, own in kept.items()
    }


def cluster(name: str, colour: str, settings: UpstreamSettings, layout: Layout) -> Document:
    """Return the cluster of that name for `colour`; those for traffic have a health check."""
    # As many as may come through the front door: what is under way, waits, or is held.
    most = {
        "max_connections": TO_INSTANCE,
        **dict.fromkeys(("max_pending_requests", "max_requests", "max_retries"), limits.MAX_CONNECTIONS),
    }
    # Shorter than any server's own keep-alive: otherwise a request may meet a connection that is being closed.
    connections: Document = {"idle_timeout": "1s", "max_headers_count": 1000, "max_response_headers_kb": 1024}
    if not layout.settings.reuse_connections:
        connections["max_requests_per_connection"] = 1
    protocol = {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": connections,
        "explicit_http_config": PROTOCOLS[settings.protocol],
    }
    made_of = {"health": settings.health.model_dump(mode="json"), "protocol": settings.protocol}
    cluster: Document = {
        "@type": f"{TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "connect_timeout": f"{CONNECT_TIMEOUT_S}s",
        "eds_cluster_config": {"service_name": colour, "eds_config": file(layout, colour)},
        "circuit_breakers": {"thresholds": [most]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        # No window: otherwise the workers learn of an endpoint's health up to a second after the admin does.
        "common_lb_config": {"healthy_panic_threshold": {"value": PANIC_PERCENT}, "update_merge_window": "0s"},
        "ignore_health_on_host_removal": True,
        # What this cluster was made of, for whoever changes the other colour's.
        "metadata": {"filter_metadata": {"tailrace": made_of}},
    }
    if name == colour:
        cluster["health_checks"] = [_health_check(settings)]
    return cluster


def _admin() -> Document:
    """Return the edge's own admin, of which one door shows one page."""
    endpoint = {"address": {"pipe": {"path": ADMIN_SOCKET}}}
    return {
        "@type": f"{TYPE}.config.cluster.v3.Cluster",
        "name": ADMIN,
        "type": "STATIC",
        "load_assignment": {"cluster_name": ADMIN, "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
    }


def _health_check(settings: UpstreamSettings) -> Document:
    """Check the live path, never the ready path: an outage behind the service must not take the colour out."""
    accepted = [{"start": first, "end": last + 1} for first, last in settings.health.accepted]
    codec = {"http1": "HTTP1", "h2c": "HTTP2"}[settings.protocol]
    return {
        "timeout": f"{CHECK_TIMEOUT_S}s", "interval": "0.25s", "no_traffic_interval": "0.25s",
        "unhealthy_interval": "0.25s", "initial_jitter": "0.001s", "unhealthy_threshold": 3, "healthy_threshold": 1,
        "http_health_check": {
            "path": settings.health.live, "expected_statuses": accepted, "codec_client_type": codec
        },
    }  # fmt: skip
