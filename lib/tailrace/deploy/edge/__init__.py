"""The proxy in front of the two slots: Envoy, configured by files, read by its counters."""

from tailrace.deploy.edge.clusters import CHECK_TIMEOUT_S, Upstream, UpstreamSettings
from tailrace.deploy.edge.counters import ColourCounters, Counters
from tailrace.deploy.edge.layout import Address, Layout
from tailrace.deploy.edge.maintenance import Maintenance
from tailrace.deploy.edge.proxy import START_TIMEOUT_S, Edge
from tailrace.deploy.edge.route_file import CanaryRoute, Routes, other

__all__ = [
    "CHECK_TIMEOUT_S",
    "START_TIMEOUT_S",
    "Address",
    "CanaryRoute",
    "ColourCounters",
    "Counters",
    "Edge",
    "Layout",
    "Maintenance",
    "Routes",
    "Upstream",
    "UpstreamSettings",
    "other",
]
