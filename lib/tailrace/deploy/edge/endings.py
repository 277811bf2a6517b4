"""Who made the failures of the front door: access logs that only count.

Envoy's own counters cannot tell: the 5xx of a cluster are those of its instance, those that the edge made in its
place, and those of probes. An access log knows each request of users, its details and its response flags; the logger
of statistics keeps a counter per colour, status and flags, so nothing grows with the number of requests. No word of a
client gets into a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tailrace.deploy.edge.envoy import TYPE, Document

ENDED, ANSWERED = "ended", "answered"


def _log(name: str, which: str, **tags: str) -> Document:
    """Return a log that counts the requests for which the expression `which` holds, a counter per set of tags."""
    holds = {"@type": f"{TYPE}.extensions.access_loggers.filters.cel.v3.ExpressionFilter", "expression": which}
    stat = {"name": name, "tags": [{"name": tag, "value_format": value} for tag, value in tags.items()]}
    counts = {
        "@type": f"{TYPE}.extensions.access_loggers.stats.v3.Config", "stats_scope": {"prefix": "tailrace"},
        "counters": [{"stat": stat, "value_fixed": 1}],
    }  # fmt: skip
    filtered = {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": holds}
    return {
        "name": "envoy.access_loggers.stats", "filter": {"extension_filter": filtered}, "typed_config": counts,
    }  # fmt: skip


LOGS: list[Document] = [
    # A page that the routes hold was meant, as is a hidden path, and a request for no path (CONNECT, OPTIONS *) is for
    # no route. What its client did wrong has a status of 4xx, but for gRPC 200, like an answer that was cut.
    _log(
        ENDED,
        "!(response.code_details in"
        " ['via_upstream', 'direct_response', 'absolute_path_rejected', 'fault_filter_abort']"
        " || (request.method == 'CONNECT' && response.code == 404)"
        " || (response.code == 200 && response.code_details in"
        " ['request_overall_timeout', 'request_header_timeout', 'request_payload_too_large']))",
        of="%UPSTREAM_CLUSTER%", status="%RESPONSE_CODE%", flags="%RESPONSE_FLAGS%",
    ),
    _log(ANSWERED, "response.code_details == 'via_upstream' && response.code >= 500", of="%UPSTREAM_CLUSTER%"),
]  # fmt: skip
"""The access logs of the front door. https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log"""

CLIENT_LEFT = frozenset({"DC", "DR"})
BROKEN = frozenset({"UC", "UR", "UPE"})
NOT_OURS = frozenset({400, 408, 413, 431})
"""Answers to a request that was malformed, too large, or that its client did not finish sending."""
REASONS = {
    "UH": "no healthy upstream",
    "UO": "too many waiting",
    "UF": "connection refused",
    "UT": "no answer in time",
    "UC": "connection closed by the instance",
    "UR": "reset by the instance",
    "UPE": "answer broken by the instance",
    "SI": "silent for too long",
    "DT": "took too long",
    "NR": "no route",
    "NC": "no such cluster",
    "DPE": "request not accepted",
    "OM": "cut for want of memory",
}


class Ending(NamedTuple):
    """One way in which requests ended: the colour that they were routed to, "" for none, status and response flags."""

    colour: str
    status: int
    flags: frozenset[str]

    @property
    def failed(self) -> bool:
        """Whether a user got a failure that the edge made: not when the client left first, nor by its own mistake.

        An upgraded connection (status 101) has no end but its close, whoever closes it.
        """
        return not self.flags & CLIENT_LEFT and self.status not in (101, *NOT_OURS)

    @property
    def cut(self) -> bool:
        """Whether an answer had begun and was cut off."""
        return self.failed and (self.status < 400 or (self.broken and self.status < 500))

    @property
    def broken(self) -> bool:
        """Whether the instance broke it, before its answer or in the middle."""
        return bool(self.flags & BROKEN) and not self.flags & CLIENT_LEFT

    def __str__(self) -> str:
        reasons = [text for flag, text in REASONS.items() if flag in self.flags]
        how = f"{self.status} cut off" if self.cut else str(self.status)
        return f"{how}: {reasons[0] if reasons else 'refused'}" + (f", of {self.colour}" if self.colour else "")


def read(stats: Iterable[Mapping[str, Any]]) -> dict[Ending, int]:
    """Return the counter of each ending that occurred, from statistics of the edge."""
    found: dict[Ending, int] = {}
    for stat in stats:
        name = str(stat.get("name", ""))
        if name.startswith(f"tailrace.{ENDED}.") and stat.get("value"):
            of, _, rest = name.removeprefix(f"tailrace.{ENDED}.of.").partition(".status.")
            status, _, flags = rest.partition(".flags.")
            ending = Ending("" if of == "-" else of, int(status), frozenset(flags.split(",")) - {"-", ""})
            found[ending] = int(stat["value"])
    return found


def answered(stats: Iterable[Mapping[str, Any]], colours: Iterable[str]) -> dict[str, int]:
    """Return how many whole answers with 5xx the instances of each colour gave to users."""
    counted = {str(stat.get("name", "")): int(stat.get("value", 0)) for stat in stats if "value" in stat}
    return {colour: counted.get(f"tailrace.{ANSWERED}.of.{colour}", 0) for colour in colours}
