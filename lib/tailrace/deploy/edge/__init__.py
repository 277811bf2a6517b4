"""The proxy in front of the two slots: Envoy, configured by files, read by its counters."""

from tailrace.deploy.edge.counters import ColourCounters, Counters
from tailrace.deploy.edge.documents import Address, Layout, Routes, other
from tailrace.deploy.edge.proxy import Edge, layout

__all__ = ["Address", "ColourCounters", "Counters", "Edge", "Layout", "Routes", "layout", "other"]
