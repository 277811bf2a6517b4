"""The listeners of the edge: its doors, and what each lets through."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tailrace.deploy.edge import clusters, endings, exposure, overload, tls
from tailrace.deploy.edge.envoy import TYPE, Document, bound, discovered, file
from tailrace.deploy.edge.layout import Address, Layout
from tailrace.deploy.edge.route_file import COLOURS, DOOR
from tailrace.profile import EdgeSettings

MANAGER = f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
MUTATION = f"{TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
MAX_HEADERS = 1000
HEAD_S = 20
"""A request whose head is not whole by then gets a 408; a connection whose TLS is not shaken is closed."""
IDLE_S = 300
"""A connection without a request for so long is closed. Longer than clients keep one that they do not use."""
BUFFER_BYTES = 1 << 20
"""What is buffered of a connection before its other side has to wait. A whole request is buffered beyond that."""
STREAMS = 256
"""So many requests may be under way on one connection of HTTP/2; a client has to wait with others."""
FORWARDED = (
    "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix",
    "x-forwarded-proto", "x-forwarded-server", "x-real-ip",
)  # fmt: skip
"""What a proxy says of the client, and a client may say only when it is a trusted proxy."""

ROUTER: Document = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True},
}


def document(layout: Layout, former: Layout | None = None) -> str:
    """Return the content of the file of listeners; the front door of `former` stays open, as it is, for a while."""
    from_files = {"rds": {"config_source": file(layout, "routes"), "route_config_name": "ingress"}}
    # Named after its address: Envoy keeps one listener of a name, and a new front door opens beside the former.
    listeners = [
        listener(f"ingress {one.ingress}", "ingress", one.ingress, from_files, one)
        for one in ([layout, former] if former else [layout])
    ]
    listeners.append(listener("probe", "probe", layout.probe, from_files, layout))
    for colour in COLOURS:
        name = f"preview-{colour}"
        everything = {"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}}
        hosts = [{"name": "preview", "domains": ["*"], "routes": [everything]}]
        fixed = {"route_config": {"name": name, "virtual_hosts": hosts}}
        listeners.append(listener(name, name, layout.preview(colour), fixed, layout))
    if layout.metrics:
        only = {"match": {"path": "/stats/prometheus"}, "route": {"cluster": clusters.ADMIN}}
        fixed = {"route_config": {"virtual_hosts": [{"name": "metrics", "domains": ["*"], "routes": [only]}]}}
        listeners.append(listener("metrics", "metrics", layout.metrics, fixed, layout))
    return discovered(*listeners)


def listener(name: str, counted_as: str, address: Address, source: Document, layout: Layout) -> Document:
    """Return one listener; `source` is where its routes come from, `counted_as` the name of its counters."""
    settings = layout.settings
    manager = {
        "@type": MANAGER,
        "stat_prefix": counted_as,
        "codec_type": "AUTO",
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.hops,
        "preserve_external_request_id": True,
        "server_header_transformation": "PASS_THROUGH",
        # A stream may last for ever, but not be silent for longer than this.
        "stream_idle_timeout": f"{settings.stream_idle_s}s",
        "request_headers_timeout": f"{HEAD_S}s",
        # Over once the request is whole, or its answer begins: it cuts no long answer.
        "request_timeout": f"{settings.request_s}s",
        "max_request_headers_kb": settings.max_header_kb,
        "common_http_protocol_options": {"max_headers_count": MAX_HEADERS, "idle_timeout": f"{IDLE_S}s"},
        "http_protocol_options": _http1(settings.upgrades),
        # A browser opens its WebSockets on the HTTP/2 connection that it has (RFC 8441).
        "http2_protocol_options": {"allow_connect": True, "max_concurrent_streams": STREAMS},
        "upgrade_configs": [
            {"upgrade_type": upgrade, "filters": [*_hidden(settings, counted_as), ROUTER]}
            for upgrade in settings.upgrades
        ],
        "http_filters": [*_hidden(settings, counted_as), *_filters(settings)],
        # Only what users get is accounted for.
        "access_log": endings.LOGS if counted_as == "ingress" else [],
        **source,
    }
    if not settings.hops:
        removed = {"@type": MUTATION, "mutations": [{"remove": header} for header in FORWARDED]}
        name_of_it = "envoy.http.early_header_mutation.header_mutation"
        manager["early_header_mutation_extensions"] = [{"name": name_of_it, "typed_config": removed}]
    http = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    # Whoever fills the front door does not keep the operator out: the others have no limit.
    chain: Document = {
        "filters": [
            overload.connection_limit(layout.connections) if counted_as == "ingress" else _door(counted_as),
            http,
        ]
    }
    if settings.tls and address == layout.ingress:
        chain |= {"transport_socket": tls.transport(layout), "transport_socket_connect_timeout": f"{HEAD_S}s"}
    return {
        "@type": f"{TYPE}.config.listener.v3.Listener", "name": name, "address": bound(address, layout),
        "per_connection_buffer_limit_bytes": BUFFER_BYTES, "filter_chains": [chain],
    }  # fmt: skip


def _hidden(settings: EdgeSettings, counted_as: str) -> list[Document]:
    return [exposure.hidden(path) for path in settings.hidden_paths or ()] if counted_as == "ingress" else []


def _filters(settings: EdgeSettings) -> list[Document]:
    """Return what a request goes through; an upgraded connection has no end that could be waited for."""
    if settings.buffered is False:
        return [ROUTER]
    kind = f"{TYPE}.extensions.filters.http.buffer.v3.Buffer"
    whole = {"@type": kind, "max_request_bytes": settings.max_body_mb << 20}
    return [_unless_connect({"name": "envoy.filters.http.buffer", "typed_config": whole}), ROUTER]


def _unless_connect(filter: Document) -> Document:
    """Return `filter` for every method but CONNECT, whose request has no end: it gets its 404 at once."""
    skip = {"name": "skip", "typed_config": {"@type": f"{TYPE}.extensions.filters.common.matcher.action.v3.SkipFilter"}}
    method = {"@type": f"{TYPE}.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":method"}
    matcher = {"input": {"name": "method", "typed_config": method},
               "exact_match_map": {"map": {"CONNECT": {"action": skip}}}}  # fmt: skip
    kind = f"{TYPE}.extensions.common.matching.v3.ExtensionWithMatcher"
    config = {"@type": kind, "extension_config": filter, "xds_matcher": {"matcher_tree": matcher}}
    return {"name": filter["name"], "typed_config": config}


def _door(name: str) -> Document:
    """Tell the routes through which door a request came, in a way that no request can claim."""
    value = {"text_format_source": {"inline_string": name}}
    state = {"object_key": DOOR, "factory_key": "envoy.string", "format_string": value}
    config = {"@type": f"{TYPE}.extensions.filters.network.set_filter_state.v3.Config", "on_new_connection": [state]}
    return {"name": "envoy.filters.network.set_filter_state", "typed_config": config}


def _http1(upgrades: Sequence[str]) -> Document:
    return {
        "accept_http_10": True,
        "default_host_for_http_10": "localhost",
        "enable_trailers": True,
        "allow_custom_methods": True,
        # As RFC 9110 says of an upgrade that a server does not take. Envoy by itself would answer 403.
        "ignore_http_11_upgrade": [{"safe_regex": {"regex": f"(?i){none_of(upgrades)}"}}],
    }


def none_of(words: Sequence[str]) -> str:
    """Return a regular expression that matches every text but these words, which are in lower case.

    Envoy's expressions (RE2) have no negative look-ahead, so it is spelled out, one letter after the other.
    """
    first = sorted({word[0] for word in words if word})
    shorter = [] if "" in words else [""]
    other = [f"[^{''.join(re.escape(letter) for letter in first)}].*"] if first else [".+"]
    longer = [re.escape(letter) + none_of([w[1:] for w in words if w[:1] == letter]) for letter in first]
    return f"(?:{'|'.join([*shorter, *other, *longer])})"
