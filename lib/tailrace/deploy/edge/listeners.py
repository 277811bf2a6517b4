"""The listeners of the edge: its doors, and what each lets through."""

from __future__ import annotations

from tailrace.deploy.edge.envoy import TYPE, Document, bound
from tailrace.deploy.edge.layout import Address, Layout

MANAGER = f"{TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def listener(name: str, address: Address, source: Document, layout: Layout) -> Document:
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
    return {"name": name, "address": bound(address, layout), "filter_chains": [chain]}
