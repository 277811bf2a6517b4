"""The clusters of the edge: where the instance of each colour is, and how it is asked for its health.

Each colour has two clusters: `blue` and `green` carry what comes in through the front door, `preview-blue` and
`preview-green` everything else, so that the counters of the former hold nothing but traffic.
"""

from __future__ import annotations

from tailrace.deploy.edge.envoy import TYPE, Document, discovered, file, socket
from tailrace.deploy.edge.layout import NOBODY, Address, Layout


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
    return discovered(f"{address}{' held' if held else ''}", assignment)


def cluster(name: str, colour: str, layout: Layout) -> Document:
    unlimited = {
        "max_connections": 100_000,
        "max_pending_requests": 100_000,
        "max_requests": 100_000,
        "max_retries": 100_000,
    }
    # Shorter than any server's own keep-alive: otherwise a request may meet a connection that is being closed.
    connections: Document = {"idle_timeout": "1s", "max_headers_count": 1000, "max_response_headers_kb": 1024}
    if not layout.reuse_connections:
        connections["max_requests_per_connection"] = 1
    protocol = {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": connections,
        "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
    }
    cluster: Document = {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"service_name": colour, "eds_config": file(layout, colour)},
        "circuit_breakers": {"thresholds": [unlimited]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        # No window: otherwise the workers learn of an endpoint's health up to a second after the admin port does.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"},
        "ignore_health_on_host_removal": True,
    }
    if name == colour:
        cluster["health_checks"] = [_health_check(layout.live_path)]
    return cluster


def _health_check(path: str) -> Document:
    """Check the live path, never the ready path: an outage behind the service must not take the colour out."""
    return {
        "timeout": "2s", "interval": "0.25s", "no_traffic_interval": "0.25s", "unhealthy_interval": "0.25s",
        "initial_jitter": "0.001s", "unhealthy_threshold": 3, "healthy_threshold": 1,
        "http_health_check": {"path": path},
    }  # fmt: skip
