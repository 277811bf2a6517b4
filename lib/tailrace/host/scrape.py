"""Read the metrics page of a server: one request, bounded in time and size, that never raises."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tailrace import request_headers, server_metrics
from tailrace.errors import PartMissing
from tailrace.host.http import FAILURES, exchange
from tailrace.server_metrics import NotMetrics, Reading

LIMIT_BYTES = 4_000_000
TIMEOUT_S = 1.0
"""For a gate that has to decide."""
PATIENT_S = 2.5
"""For evidence: a server that is overloaded answers late, and that is when one wants to know."""


@dataclass(frozen=True)
class MetricsPage:
    """Where a server tells its metrics, and how it names them where the known names are not its own."""

    url: str
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Further names by measure (`server_metrics.MEASURES`)."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """As in the profile: secrets are filled in at the moment of sending."""


def read(page: MetricsPage, timeout_s: float = TIMEOUT_S) -> Reading:
    """Return what the page says now; a page that is missing, slow, too large or something else is a reading's `why`."""
    now_ns = time.perf_counter_ns()
    try:
        headers = request_headers.filled(page.headers)
        answer = exchange(page.url, headers=headers, timeout_s=timeout_s, limit_bytes=LIMIT_BYTES)
        if answer.status != 200:
            return Reading(now_ns, why=f"{page.url} answered {answer.status}")
        return server_metrics.parse(answer.body, now_ns, page.names)
    except NotMetrics as error:
        return Reading(now_ns, why=f"{page.url}: {error}")
    except (*FAILURES, PartMissing, ValueError) as error:
        return Reading(now_ns, why=f"{page.url}: {error or type(error).__name__}")
