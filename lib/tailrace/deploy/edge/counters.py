"""The edge's counters, read from Envoy's admin socket, exact to the request.

requests    every request through the front door; probes and previews have doors of their own
failed      answered with 5xx, begun and cut off (`cut`), or refused by the edge with a 4xx of its own
maintained  answered with the maintenance page: 503 on purpose, so not among the failed
abandoned   the client hung up before its answer was complete
endings     how those ended that no instance answered whole
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol
from urllib.parse import quote, unquote

from tailrace.deploy.edge import endings
from tailrace.deploy.edge.endings import Ending
from tailrace.deploy.edge.layout import Address
from tailrace.deploy.edge.route_file import COLOURS
from tailrace.errors import EdgeRejected
from tailrace.host.http import FAILURES, exchange

METRICS = (
    r"^(server\.(live|uptime|hot_restart_generation)|tailrace\.(ended|answered)\..*"
    r"|http\.(ingress|probe)\.(downstream_rq_(total|completed|active|[2345]xx)|rq_direct_response"
    r"|downstream_cx_destroy_remote_active_rq)"
    r"|cluster\.(blue|green)\.(upstream_rq_(total|active|pending_active|5xx|time)|upstream_cx_connect_fail))$"
)
LATE_S = 3.0
"""How far Envoy's own uptime may be behind: whole seconds, written at each flush, later on a machine that is busy."""

Buckets = tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class ColourCounters:
    """The counters of one slot: `active` is now, everything else since the edge started."""

    total: int
    active: int
    failed: int
    broken: int
    """Answers that had begun, and that the instance broke off."""
    connect_failures: int
    latency: Buckets = field(default=(), repr=False)
    """Answered requests by upper bound in ms, cumulative."""

    def since(self, earlier: ColourCounters) -> ColourCounters:
        before = dict(earlier.latency)
        return ColourCounters(
            self.total - earlier.total, self.active, self.failed - earlier.failed, self.broken - earlier.broken,
            self.connect_failures - earlier.connect_failures,
            tuple((bound, count - before.get(bound, 0)) for bound, count in self.latency),
        )  # fmt: skip


@dataclass(frozen=True)
class Counters:
    """One reading; `t_ns` is from `time.perf_counter_ns`. All count from zero when the edge is started."""

    t_ns: int
    requests: int
    completed: int
    active: int
    answers_2xx: int
    answers_3xx: int
    answers_4xx: int
    answers_5xx: int
    cut: int
    abandoned: int
    probes: int
    colours: Mapping[str, ColourCounters]
    endings: Mapping[Ending, int] = field(default_factory=dict)
    by_instance: Mapping[str, int] = field(default_factory=dict)
    """The answers with 5xx that users got from the instances themselves, by colour."""
    uptime_s: int = 0
    edge: int = 0
    """The generation of the process that counts."""
    maintained: int = 0
    """Of gRPC calls, too: their status is 200, so `failed` may be too small by their number."""
    restarted: bool = False
    """Of a difference: the edge began to count anew in between, so that a part is missing."""

    @property
    def failed(self) -> int:
        refused = sum(count for ending, count in self.by_edge.items() if 400 <= ending.status < 500)
        return max(0, self.answers_5xx - self.maintained) + self.cut + refused

    @property
    def by_edge(self) -> dict[Ending, int]:
        """The failures that the edge made in place of an instance's answer, or in the middle of one."""
        return {ending: count for ending, count in self.endings.items() if ending.failed}

    @property
    def refused(self) -> dict[str, int]:
        """The same failures by how they ended, in words."""
        made: dict[str, int] = {}
        for ending, count in self.by_edge.items():
            made[str(ending)] = made.get(str(ending), 0) + count
        return made

    def lost(self, colour: str) -> int:
        """Return how many requests the instance of `colour` broke: unanswered, half answered, or upgraded."""
        return sum(count for ending, count in self.endings.items() if ending.colour == colour and ending.broken)

    @property
    def connect_failures(self) -> int:
        return sum(colour.connect_failures for colour in self.colours.values())

    def since(self, earlier: Counters) -> Counters:
        """Return what was counted between `earlier` and this reading; `active` is as of this reading.

        When another process counts by now, all that it has counted: it began at zero.
        """
        if began_anew(earlier, self):
            return replace(self, restarted=True)
        kept = ("t_ns", "active", "colours", "endings", "by_instance", "uptime_s", "edge", "restarted")
        differences = {
            f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self) if f.name not in kept
        }
        colours = {name: colour.since(earlier.colours[name]) for name, colour in self.colours.items()}
        differences["cut"] = max(0, differences["cut"])
        return replace(
            self, colours=colours, endings=since(self.endings, earlier.endings),
            by_instance=since(self.by_instance, earlier.by_instance), **differences,
        )  # fmt: skip


def since(now: Mapping[Any, int], before: Mapping[Any, int]) -> dict[Any, int]:
    """Return what was counted in between; a listener that is replaced takes its counters with it."""
    counted = {name: n if n < before.get(name, 0) else n - before.get(name, 0) for name, n in now.items()}
    return {name: n for name, n in counted.items() if n}


class Read(Protocol):
    """Anything that holds these counters as they were at one time."""

    @property
    def t_ns(self) -> int: ...
    @property
    def uptime_s(self) -> int: ...
    @property
    def edge(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def probes(self) -> int: ...


def began_anew(earlier: Read, later: Read) -> bool:
    """Return whether the edge was replaced, or died and was started again, between two readings."""
    passed_s = (later.t_ns - earlier.t_ns) / 1e9
    # While a replaced process finishes its requests, Envoy adds its uptime to that of the new one, and takes it away
    # at its end: a lower uptime alone says nothing. A process that began in between is no older than that time.
    new = 0 < later.uptime_s <= passed_s + 1
    younger = new and later.uptime_s - earlier.uptime_s < passed_s - LATE_S
    return younger or later.edge != earlier.edge or later.requests < earlier.requests or later.probes < earlier.probes


def read(admin_url: str, timeout_s: float = 2.0) -> Counters:
    """Return the counters as they are now; raises EdgeRejected when the edge does not answer."""
    found = stats(admin_url, METRICS, timeout_s)
    flat = {stat["name"]: stat["value"] for stat in found if "name" in stat}
    histograms = [histogram for stat in found for histogram in stat.get("histograms", [])]
    latency = {h["name"]: tuple((b["upper_bound"], b["cumulative"]) for b in h["buckets"]) for h in histograms}

    def ingress(name: str) -> int:
        return int(flat.get(f"http.ingress.downstream_{name}", 0))

    ended = endings.read(found)
    return Counters(
        time.perf_counter_ns(), ingress("rq_total"), ingress("rq_completed"), ingress("rq_active"), ingress("rq_2xx"),
        ingress("rq_3xx"), ingress("rq_4xx"), ingress("rq_5xx"), sum(n for e, n in ended.items() if e.cut),
        ingress("cx_destroy_remote_active_rq"), int(flat.get("http.probe.downstream_rq_total", 0)),
        {colour: _colour(colour, flat, ended, latency) for colour in COLOURS}, ended, endings.answered(found, COLOURS),
        int(flat.get("server.uptime", 0)), int(flat.get("server.hot_restart_generation", 0)),
        int(flat.get("http.ingress.rq_direct_response", 0)),
    )  # fmt: skip


def _colour(
    colour: str, flat: Mapping[str, int], ended: Mapping[Ending, int], latency: Mapping[str, Buckets]
) -> ColourCounters:
    def of(name: str) -> int:
        return int(flat.get(f"cluster.{colour}.upstream_{name}", 0))

    return ColourCounters(
        of("rq_total"), of("rq_active") + of("rq_pending_active"), of("rq_5xx"),
        sum(n for e, n in ended.items() if e.colour == colour and e.cut and e.broken), of("cx_connect_fail"),
        latency.get(f"cluster.{colour}.upstream_rq_time", ()),
    )  # fmt: skip


def healthy(admin_url: str, colour: str, port: int, timeout_s: float = 2.0) -> bool:
    """Return whether the edge's own health check passes for the endpoint of `colour` at `port`."""
    status = _health(admin_url, colour, port, timeout_s)
    failing = any(status.get(flag) for flag in ("failed_active_health_check", "pending_active_hc"))
    return status.get("eds_health_status") == "HEALTHY" and not failing


def held(admin_url: str, colour: str, port: int, timeout_s: float = 2.0) -> bool:
    """Return whether the edge knows that the endpoint of `colour` at `port` gets no new requests."""
    return bool(_health(admin_url, colour, port, timeout_s).get("eds_health_status") == "DRAINING")


def _health(admin_url: str, colour: str, port: int, timeout_s: float) -> dict[str, Any]:
    clusters = _get(f"{admin_url}/clusters?format=json", timeout_s).get("cluster_statuses", [])
    hosts = (host for cluster in clusters if cluster["name"] == colour for host in cluster.get("host_statuses", []))
    found = (host["health_status"] for host in hosts if host["address"]["socket_address"]["port_value"] == port)
    return next(found, {})


SUBSCRIPTIONS = {
    "clusters": ("cluster_manager.cds.version_text", "cluster_manager.warming_clusters"),
    "listeners": ("listener_manager.lds.version_text", "listener_manager.total_listeners_warming"),
}


def taken(admin_url: str, kind: str, version: str, timeout_s: float = 2.0) -> bool:
    """Return whether the edge goes by that version of its file of clusters or listeners.

    What is new in the file counts once it has warmed, which is when it replaces what was there.
    """
    accepted, warming = SUBSCRIPTIONS[kind]
    found = stats(admin_url, rf"^({accepted}|{warming})$".replace(".", r"\."), timeout_s)
    values = {stat["name"]: stat.get("value") for stat in found}
    return values.get(accepted) == version and values.get(warming) == 0


def used(admin_url: str, door: Address, timeout_s: float = 2.0) -> int:
    """Return how many connections were accepted and requests answered at a front door so far."""
    name = str(door).replace(":", "_")
    found = stats(
        admin_url, rf"^listener\.{name}\.(downstream_cx_total|http\.ingress\.downstream_rq_completed)$", timeout_s
    )
    return sum(int(stat["value"]) for stat in found if "value" in stat)


KINDS = {"routes": "dynamic_route_configs", "clusters": "dynamic_active_clusters", "listeners": "dynamic_listeners"}


def rejection(admin_url: str, kind: str = "routes", timeout_s: float = 2.0) -> str:
    """Return why the edge rejected the latest file of that kind; empty when it did not."""
    dump = _get(f"{admin_url}/config_dump?resource={KINDS[kind]}", timeout_s)
    for config in dump.get("configs", []):
        if "error_state" in config:
            return str(config["error_state"].get("details", "no details"))
    if kind != "routes":
        return ""
    rejected = stats(admin_url, r"^http\.ingress\.rds\.ingress\.update_(rejected|failure)$", timeout_s)
    counted = {stat["name"].rpartition(".")[2]: stat["value"] for stat in rejected if stat.get("value")}
    return f"{counted} since it started" if counted else ""


def epoch(admin_url: str, timeout_s: float = 2.0) -> int:
    """Return how many hot restarts led to the process that answers."""
    return int(_get(f"{admin_url}/server_info", timeout_s)["command_line_options"]["restart_epoch"])


def stats(admin_url: str, names: str, timeout_s: float) -> list[dict[str, Any]]:
    """Return the statistics whose names match the expression; raises EdgeRejected when the edge does not answer."""
    query = f"format=json&histogram_buckets=cumulative&filter={quote(names)}"
    found: list[dict[str, Any]] = _get(f"{admin_url}/stats?{query}", timeout_s)["stats"]
    return found


def _get(url: str, timeout_s: float) -> dict[str, Any]:
    try:
        answer = exchange(url, timeout_s=timeout_s)
        document: dict[str, Any] = json.loads(answer.body)
    except (*FAILURES, ValueError) as error:
        where = unquote(url.partition("?")[0])
        raise EdgeRejected(
            f"the edge's admin socket does not answer ({where}: {error}); see `status`, or run `resume`"
        ) from None
    return document
