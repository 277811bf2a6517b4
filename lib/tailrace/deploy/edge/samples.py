"""Why the edge failed requests, and when it found a slot healthy: counters that are light enough to be sampled.

The names are Envoy's, and the letters its response flags:

    none_healthy    no healthy upstream (UH)           connect_failed  the connection was refused or timed out (UF)
    timed_out       the upstream took too long (UT)    overflowed      too many requests were waiting (UO)
    broken          the instance closed a connection while a request was on it (UC)
"""

from __future__ import annotations

import time
from typing import NamedTuple

from tailrace.deploy.edge.counters import stats
from tailrace.deploy.edge.route_file import COLOURS

EDGE = "edge"
"""The name of these samples."""
NAMES = {
    "requests": "upstream_rq_total",
    "active": "upstream_rq_active",
    "failed": "upstream_rq_5xx",
    "none_healthy": "upstream_cx_none_healthy",
    "connect_failed": "upstream_cx_connect_fail",
    "timed_out": "upstream_rq_timeout",
    "overflowed": "upstream_rq_pending_overflow",
    "broken": "upstream_cx_destroy_remote_with_active_rq",
    "checks_failed": "health_check.failure",
    "members": "membership_total",
    "healthy": "membership_healthy",
}
_FILTER = rf"^cluster\.({'|'.join(COLOURS)})\.({'|'.join(NAMES.values())})$".replace("health_check.", r"health_check\.")


class EdgeRow(NamedTuple):
    """The counters of one slot at one time: `active`, `members` and `healthy` as of now, the others since the start."""

    t_ns: int
    colour: str
    requests: int
    active: int
    failed: int
    none_healthy: int
    connect_failed: int
    timed_out: int
    overflowed: int
    broken: int
    checks_failed: int
    members: int
    healthy: int


def read(admin_url: str, timeout_s: float = 2.0) -> list[EdgeRow]:
    """Return a row per slot; raises EdgeRejected when the edge does not answer."""
    flat = {stat["name"]: int(stat["value"]) for stat in stats(admin_url, _FILTER, timeout_s) if "name" in stat}
    t_ns = time.perf_counter_ns()
    return [EdgeRow(t_ns, colour, **_counters(flat, colour)) for colour in COLOURS]


def _counters(flat: dict[str, int], colour: str) -> dict[str, int]:
    return {name: flat.get(f"cluster.{colour}.{stat}", 0) for name, stat in NAMES.items()}
