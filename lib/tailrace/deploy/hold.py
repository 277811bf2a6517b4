"""Pausing: the edge holds new requests for a bounded time instead of sending them on.

The serving colour gets an endpoint that refuses connections instead of its own, and the route tries again until the
own one is back: only requests that never reached an instance are tried again, as always. What is under way ends.
"""

from __future__ import annotations

from tailrace.deploy.edge import Address, Edge, Routes


def pause(edge: Edge, generation: int, address: Address, hold_s: float, ack_timeout_s: float) -> None:
    """Hold what comes for `address` from now on, for up to `hold_s`; then it gets a 503."""
    now = edge.routes()
    edge.route(Routes(generation, now.weights, hold_s))
    edge.await_generation(generation, ack_timeout_s)
    edge.point(now.serving, address, held=True)


def unpause(edge: Edge, generation: int, address: Address, ack_timeout_s: float) -> None:
    """Let everything that was held go on to `address`."""
    now = edge.routes()
    edge.point(now.serving, address)
    edge.route(Routes(generation, now.weights))
    edge.await_generation(generation, ack_timeout_s)
