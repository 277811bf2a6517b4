"""The account of a series of switches: every request as its client, the edge and the servers counted it."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field

from mixed_load import Row
from tailrace.deploy import Counters, Switched
from tailrace.errors import RolledBack

BAD = "-bad"
"""How the name of a release ends that is meant to be rolled back."""
ABORTED = "ABORTED"
"""The status of gRPC with which a bad release fails a call: to the edge that is an answer like any other."""

Line = tuple[str, str, str, bool]
"""A row of the table: measure, value, limit, whether it is held."""


@dataclass
class Account:
    """What became of every request to one deployment, `door`."""

    door: str
    planned: tuple[int, int]
    """How many switches are to end well, and how many are to be rolled back."""
    rate: float
    switches: list[Switched] = field(default_factory=list)
    rolled_back: list[RolledBack] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    edge: Counters | None = None
    servers: dict[str, Counter[str]] = field(default_factory=dict)
    """What the servers of each release counted: begun, finished, failed, cut. Empty when they could not be asked."""

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.outcome != "200"]

    @property
    def unexplained(self) -> list[Row]:
        """The failures that are no bad release's: neither its own answer, nor sent while it had the traffic."""
        return [row for row in self.failed if not (row.release.endswith(BAD) or self._while_bad(row))]

    def _while_bad(self, row: Row) -> bool:
        """Return whether a request whose answer names no release was in flight while a bad one had the traffic."""
        ended_ns = row.sent_ns + row.took_ms * 1e6
        times = [{state: t_ns for state, t_ns, _ in error.states} for error in self.rolled_back]
        return not row.release and any(at["smoked"] < ended_ns and row.sent_ns < at["rolled back"] for at in times)

    @property
    def answers_to_the_edge(self) -> int:
        """The failures that the edge cannot see: a status of gRPC, and what happens in an upgraded connection."""
        unseen = (row.kind == "websocket" and not row.outcome.isdigit() for row in self.failed)
        return sum(unseen) + sum(row.outcome == ABORTED for row in self.failed)

    def counted(self, how: str, bad: bool) -> int:
        """Return how many requests the servers of the `bad` releases, or of all others, counted as `how`."""
        return sum(count[how] for name, count in self.servers.items() if name.endswith(BAD) == bad)

    @property
    def miscounted(self) -> list[str]:
        """The good releases whose own counts are not what clients got from them."""
        got = Counter(row.release for row in self.rows if row.outcome == "200" and not row.release.endswith(BAD))
        names = got.keys() | {name for name in self.servers if not name.endswith(BAD)}
        own = {name: self.servers.get(name, Counter()) for name in names}
        return sorted(name for name in names if not got[name] == own[name]["begun"] == own[name]["finished"])

    @property
    def cut(self) -> int:
        return sum(switched.cut for switched in self.switches)

    def lines(self) -> list[Line]:
        """Return the rows of the table."""
        door, sent = self.door, len(self.rows)
        kinds, switched = Counter(row.kind for row in self.rows), (len(self.switches), len(self.rolled_back))
        unexplained = Counter(f"{row.kind} {row.outcome}" for row in self.unexplained)
        assert self.edge
        return [
            _line(f"{door}: switched; rolled back", _two(switched), _two(self.planned), switched == self.planned),
            _line(f"{door}: requests", f"{sent:,}, {self._rate():.0f}/s", f"≥ {0.99 * self.rate:.0f}/s",
                  self._rate() >= 0.99 * self.rate),
            _line(f"{door}: of these", ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common())),
            _line(f"{door}: failed, by the clients", f"{unexplained.total()} {dict(unexplained) or ''}".strip(), "0",
                  not unexplained),
            _line(f"{door}: cut at a drain", f"{self.cut}", "0", self.cut == 0),
            _line(f"{door}: clients and edge agree", f"{sent:,} and {self.edge.requests:,}", "equal",
                  sent == self.edge.requests),
            *self._of_servers(), *self._of_failures(),
            _line(f"{door}: GET, p50 and p99", _two(self._latency_ms(), " ms")),
            _line(f"{door}: one switch, p50", f"{statistics.median(s.duration_s for s in self.switches):.2f} s"),
        ]  # fmt: skip

    def _of_servers(self) -> list[Line]:
        if not self.servers:
            return []
        begun, finished = self.counted("begun", bad=False), self.counted("finished", bad=False)
        value = f"{begun:,} and {finished:,}; {len(self.miscounted)} releases differ"
        held = begun == finished and not self.miscounted
        return [_line(f"{self.door}: begun and finished, by the servers; not as the clients", value, "equal; 0", held)]

    def _of_failures(self) -> list[Line]:
        assert self.edge
        door, failed, seen = self.door, len(self.failed), self.edge.failed
        if not self.planned[1]:
            return [_line(f"{door}: failed, by the edge", f"{seen}", "0", seen == 0)]
        unseen = self.answers_to_the_edge
        own = {how: self.counted(how, bad=True) for how in ("begun", "finished", "failed", "cut")}
        outcomes = ", ".join(f"{n} {what}" for what, n in Counter(row.outcome for row in self.failed).most_common())
        return [
            _line(f"{door}: failed on the bad releases, by the clients", f"{failed}: {outcomes}"),
            _line(f"{door}: the same, by the edge; answers to it", f"{seen}; {unseen}", f"{failed} in all",
                  seen + unseen == failed),
            _line(f"{door}: the bad releases, by themselves", ", ".join(f"{n} {how}" for how, n in own.items())),
        ]  # fmt: skip

    def _rate(self) -> float:
        """Requests per second from the first that was sent to the last."""
        sent_ns = [row.sent_ns for row in self.rows]
        return len(sent_ns) / (max(sent_ns) - min(sent_ns)) * 1e9

    def _latency_ms(self) -> tuple[float, float]:
        took_ms = sorted(row.took_ms for row in self.rows if row.kind == "http" and row.outcome == "200")
        return round(took_ms[len(took_ms) // 2], 1), round(took_ms[int(len(took_ms) * 0.99)], 1)


def _line(measure: str, value: str, limit: str = "", held: bool = True) -> Line:
    return measure, value, limit, held


def _two(values: tuple[float, float], unit: str = "") -> str:
    return f"{values[0]}{unit}; {values[1]}{unit}"
