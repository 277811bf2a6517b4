"""How much an edge takes before it refuses more: connections and memory.

https://www.envoyproxy.io/docs/envoy/latest/configuration/operations/overload_manager/overload_manager
"""

from __future__ import annotations

from tailrace.deploy.edge.envoy import TYPE, Document

HEAP = "envoy.resource_monitors.fixed_heap"
HEAP_BYTES = 512 << 20
TRACKED_FROM = 20
"""Streams that buffer less than two to the power of this are not looked at when memory is short."""
ACTIONS = {"shrink_heap": 0.85, "reset_high_memory_stream": 0.9, "stop_accepting_requests": 0.95}
"""What is done from which share of the memory on: the largest buffers are given up before anybody is refused."""
IDLE_FROM, IDLE_TO, LEAST_IDLE_S = 0.6, 0.9, 2
"""Between these shares of the memory, connections without a request are closed sooner and sooner."""


def connection_limit(connections: int) -> Document:
    """Return the filter that closes each connection of the front door beyond so many.

    Envoy's own limit is no use: connections at doors that are exempt are taken off when they end, and never added.
    """
    kind = f"{TYPE}.extensions.filters.network.connection_limit.v3.ConnectionLimit"
    config = {"@type": kind, "stat_prefix": "ingress", "max_connections": connections}
    return {"name": "envoy.filters.network.connection_limit", "typed_config": config}


def document() -> Document:
    """Return the part of Envoy's bootstrap that bounds its memory."""
    kind = f"{TYPE}.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig"
    heap = {"@type": kind, "max_heap_size_bytes": HEAP_BYTES}
    return {
        "refresh_interval": "0.1s",
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": TRACKED_FROM},
        "resource_monitors": [{"name": HEAP, "typed_config": heap}],
        "actions": [*(_from(f"envoy.overload_actions.{name}", share) for name, share in ACTIONS.items()), _idle()],
    }


def _from(name: str, share: float) -> Document:
    above: Document = {"threshold": {"value": share}}
    if name.endswith("reset_high_memory_stream"):  # the more memory is used, the smaller are those that go
        above = {"scaled": {"scaling_threshold": share, "saturation_threshold": share + 0.08}}
    return {"name": name, "triggers": [{"name": HEAP, **above}]}


def _idle() -> Document:
    timers = [{"timer": "HTTP_DOWNSTREAM_CONNECTION_IDLE", "min_timeout": f"{LEAST_IDLE_S}s"}]
    kind = f"{TYPE}.config.overload.v3.ScaleTimersOverloadActionConfig"
    return {
        "name": "envoy.overload_actions.reduce_timeouts",
        "triggers": [{"name": HEAP, "scaled": {"scaling_threshold": IDLE_FROM, "saturation_threshold": IDLE_TO}}],
        "typed_config": {"@type": kind, "timer_scale_factors": timers},
    }
