"""The configuration with which Envoy is started: only what cannot change while it runs.

All else is in files beside it that Envoy reads again when one is renamed into place: `listeners.yaml`, `clusters.yaml`,
`blue.yaml`, `green.yaml` and `routes.yaml`.
"""

from __future__ import annotations

import yaml

from tailrace.deploy.edge import overload
from tailrace.deploy.edge.envoy import file
from tailrace.deploy.edge.layout import ADMIN, Layout


def document(layout: Layout) -> str:
    """Return the configuration with which Envoy is started."""
    document = {
        "node": {"id": "tailrace", "cluster": "tailrace"},
        # Without a folder: Envoy is started in that of its sockets, as the kernel takes no long path for one.
        "admin": {"address": {"pipe": {"path": ADMIN, "mode": 0o600}}},
        "dynamic_resources": {"cds_config": file(layout, "clusters"), "lds_config": file(layout, "listeners")},
        # Histograms are merged once per flush: this is how old a latency in a gate's window may be.
        "stats_flush_interval": "0.2s",
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": _buckets_ms()}]
        },
        "overload_manager": overload.document(),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 1000}}]},
    }
    return yaml.safe_dump(document, sort_keys=False)


def _buckets_ms() -> list[float]:
    """Upper bounds from 0.5 ms to two minutes, each 12 % above the one before: as exact as a gate needs."""
    bounds = [0.5]
    while bounds[-1] < 120_000:
        bounds.append(round(bounds[-1] * 1.12, 4))
    return bounds
