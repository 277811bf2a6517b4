"""The files that Envoy reads: pure functions from routes and addresses to YAML, and back.

The bootstrap is read at start. The routes and the endpoints of each colour are files of their own, which Envoy
reads again whenever one is renamed into place. Each colour has two clusters: `blue` and `green` carry what comes in
through the front door, `preview-blue` and `preview-green` everything else, so that the counters of the former hold
nothing but traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tailrace.errors import EdgeRejected
from tailrace.headers import COLOUR, GENERATION

COLOURS = ("blue", "green")
TYPE = "type.googleapis.com/envoy"
MANAGER = f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

Document = dict[str, Any]


@dataclass(frozen=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"


NOBODY = Address("127.0.0.1", 1)
"""An address where nobody listens."""


@dataclass(frozen=True)
class Layout:
    """Where the edge listens, and where its files are; fixed for the life of a deployment.

    `probe` has the same routes as `ingress` and is counted separately. Every listener but `ingress` is for loopback.
    """

    ingress: Address
    probe: Address
    preview_blue: Address
    preview_green: Address
    admin: Address
    folder: str
    live_path: str
    stream_idle_s: float
    bind: str = ""
    """Where every listener binds instead, when something else than Envoy listens on the host."""
    reuse_connections: bool = True

    def preview(self, colour: str) -> Address:
        return self.preview_blue if colour == "blue" else self.preview_green


@dataclass(frozen=True)
class Routes:
    """The share of the traffic that each colour gets, in percent; a higher `generation` is a later decision."""

    generation: int
    weights: Mapping[str, int]
    hold_s: float = 0.0
    """How long a request is held for a paused colour; 0 when none is paused."""

    @property
    def serving(self) -> str:
        """The colour with the larger share."""
        return max(COLOURS, key=lambda colour: self.weights.get(colour, 0))


def other(colour: str) -> str:
    """Return the colour that `colour` is not."""
    return "green" if colour == "blue" else "blue"


def routes(routes: Routes) -> str:
    """Return the content of the route file."""
    # Only a request that never reached an instance is retried: no started completion is replayed.
    retry: Document = {"retry_on": "connect-failure", "num_retries": 2}
    if routes.hold_s:
        retry |= {"num_retries": max(4, round(routes.hold_s / 0.05)),
                  "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.1s"}}  # fmt: skip
    shares = [
        {"name": colour, "weight": weight, "response_headers_to_add": [_header(COLOUR, colour, "ADD_IF_ABSENT")]}
        for colour, weight in sorted(routes.weights.items()) if weight
    ]  # fmt: skip
    action = {"weighted_clusters": {"clusters": shares}, "timeout": "0s", "retry_policy": retry}
    return _discovered(
        routes.generation,
        {
            "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
            "name": "ingress",
            # Otherwise a route to an unknown cluster is accepted, and every answer is a 503.
            "validate_clusters": True,
            # In the content, not only in `version_info`: Envoy ignores an update with identical content.
            "response_headers_to_add": [_header(GENERATION, str(routes.generation), "OVERWRITE_IF_EXISTS_OR_ADD")],
            "virtual_hosts": [
                {"name": "ingress", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}
            ],
        },
    )


def read_routes(path: Path) -> Routes:
    """Return the routes in the file at `path`; raises EdgeRejected unless `routes` could have written it.

    Envoy ignores a malformed file while it runs, and answers 404 to everything when it starts on one.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        resource = document["resources"][0]
        action = resource["virtual_hosts"][0]["routes"][0]["route"]
        weights = {share["name"]: int(share["weight"]) for share in action["weighted_clusters"]["clusters"]}
        parsed = Routes(int(document["version_info"]), weights, _hold_s(action["retry_policy"]))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EdgeRejected(f"{path} is not a route file ({type(error).__name__}: {reason}); run `resume`") from None
    if yaml.safe_load(routes(parsed)) != document or not set(weights) <= set(COLOURS) or sum(weights.values()) != 100:
        raise EdgeRejected(f"{path} was not written by tailrace (weights {weights}); run `resume` to write it anew")
    return parsed


def endpoints(colour: str, address: Address | None, held: bool = False) -> str:
    """Return the file with the one endpoint of `colour`, or with none.

    While it is `held`, new requests go to an address that refuses them, and are retried. The endpoint itself stays in
    the file, so that its health is known at once when it is back.
    """
    assignment: Document = {"@type": f"{TYPE}.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": colour}
    if address is not None:
        listed: list[Document] = [{"endpoint": {"address": _socket(address)}}]
        if held:
            refusing = {"address": _socket(NOBODY), "health_check_config": {"disable_active_health_check": True}}
            listed = [{**listed[0], "health_status": "DRAINING"}, {"endpoint": refusing}]
        assignment["endpoints"] = [{"lb_endpoints": listed}]
    return _discovered(f"{address}{' held' if held else ''}", assignment)


def bootstrap(layout: Layout) -> str:
    """Return the configuration with which Envoy is started."""
    from_files = {"rds": {"config_source": _file(layout, "routes"), "route_config_name": "ingress"}}
    listeners = [
        _listener("ingress", layout.ingress, from_files, layout),
        _listener("probe", layout.probe, from_files, layout),
    ]
    for colour in COLOURS:
        everything = {"match": {"prefix": "/"}, "route": {"cluster": f"preview-{colour}", "timeout": "0s"}}
        hosts = [{"name": "preview", "domains": ["*"], "routes": [everything]}]
        fixed = {"route_config": {"name": f"preview-{colour}", "virtual_hosts": hosts}}
        listeners.append(_listener(f"preview-{colour}", layout.preview(colour), fixed, layout))
    clusters = [_cluster(name, colour, layout) for colour in COLOURS for name in (colour, f"preview-{colour}")]
    document = {
        "node": {"id": "tailrace", "cluster": "tailrace"},
        "admin": {"address": _bound(layout.admin, layout)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        # Histograms are merged once per flush: this is how old a latency in a gate's window may be.
        "stats_flush_interval": "0.2s",
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": _buckets_ms()}]
        },
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 1000}}]},
    }
    return yaml.safe_dump(document, sort_keys=False)


def _listener(name: str, address: Address, source: Document, layout: Layout) -> Document:
    router = {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}
    manager = {
        "@type": MANAGER,
        "stat_prefix": name,
        "codec_type": "AUTO",
        "use_remote_address": True,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        # A stream may last for ever, but not be silent for longer than this.
        "stream_idle_timeout": f"{layout.stream_idle_s}s",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        **source,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": _bound(address, layout), "filter_chains": [chain]}


def _cluster(name: str, colour: str, layout: Layout) -> Document:
    unlimited = {
        "max_connections": 100_000,
        "max_pending_requests": 100_000,
        "max_requests": 100_000,
        "max_retries": 100_000,
    }
    # Shorter than any server's own keep-alive: otherwise a request may meet a connection that is being closed.
    connections: Document = {"idle_timeout": "1s"}
    if not layout.reuse_connections:
        connections["max_requests_per_connection"] = 1
    protocol = {
        "@type": f"{TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": connections,
        "explicit_http_config": {"http_protocol_options": {}},
    }
    cluster: Document = {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"service_name": colour, "eds_config": _file(layout, colour)},
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


def _buckets_ms() -> list[float]:
    """Upper bounds from 0.5 ms to two minutes, each 12 % above the one before: as exact as a gate needs."""
    bounds = [0.5]
    while bounds[-1] < 120_000:
        bounds.append(round(bounds[-1] * 1.12, 4))
    return bounds


def _file(layout: Layout, name: str) -> Document:
    return {"path_config_source": {"path": f"{layout.folder}/{name}.yaml"}, "resource_api_version": "V3"}


def _socket(address: Address) -> Document:
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _bound(address: Address, layout: Layout) -> Document:
    return _socket(Address(layout.bind or address.host, address.port))


def _header(name: str, value: str, action: str) -> Document:
    return {"header": {"key": name, "value": value}, "append_action": action}


def _discovered(version: int | str, resource: Document) -> str:
    return yaml.safe_dump({"version_info": str(version), "resources": [resource]}, sort_keys=False)


def _hold_s(policy: Document) -> float:
    return round(policy["num_retries"] * 0.05, 3) if "retry_back_off" in policy else 0.0
