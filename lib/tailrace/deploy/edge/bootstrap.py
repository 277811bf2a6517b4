"""The configuration with which Envoy is started. All else is in files that it reads again when one is replaced."""

from __future__ import annotations

import yaml

from tailrace.deploy.edge.clusters import cluster
from tailrace.deploy.edge.envoy import bound, file
from tailrace.deploy.edge.layout import Layout
from tailrace.deploy.edge.listeners import listener
from tailrace.deploy.edge.route_file import COLOURS


def document(layout: Layout) -> str:
    """Return the configuration with which Envoy is started."""
    from_files = {"rds": {"config_source": file(layout, "routes"), "route_config_name": "ingress"}}
    listeners = [
        listener("ingress", layout.ingress, from_files, layout),
        listener("probe", layout.probe, from_files, layout),
    ]
    for colour in COLOURS:
        everything = {"match": {"prefix": "/"}, "route": {"cluster": f"preview-{colour}", "timeout": "0s"}}
        hosts = [{"name": "preview", "domains": ["*"], "routes": [everything]}]
        fixed = {"route_config": {"name": f"preview-{colour}", "virtual_hosts": hosts}}
        listeners.append(listener(f"preview-{colour}", layout.preview(colour), fixed, layout))
    clusters = [cluster(name, colour, layout) for colour in COLOURS for name in (colour, f"preview-{colour}")]
    document = {
        "node": {"id": "tailrace", "cluster": "tailrace"},
        "admin": {"address": bound(layout.admin, layout)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
        # Histograms are merged once per flush: this is how old a latency in a gate's window may be.
        "stats_flush_interval": "0.2s",
        "stats_config": {
            "histogram_bucket_settings": [{"match": {"suffix": "upstream_rq_time"}, "buckets": _buckets_ms()}]
        },
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 1000}}]},
    }
    return yaml.safe_dump(document, sort_keys=False)


def _buckets_ms() -> list[float]:
    """Upper bounds from 0.5 ms to two minutes, each 12 % above the one before: as exact as a gate needs."""
    bounds = [0.5]
    while bounds[-1] < 120_000:
        bounds.append(round(bounds[-1] * 1.12, 4))
    return bounds
