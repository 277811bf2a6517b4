"""The account of a soak: each failed request is owned up to by the journal of the deployment, or it is lost.

A fault that was injected opens a window, if the journal names it: from the fault to the first whole second of the
clients after which nothing failed, for `LONGEST_S` at most. What fails outside all windows is lost, and so is what
fails by a fault of which the journal has no word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from tailrace.deploy.journal import JournalEntry
from tailrace.load import Summary

NOTHING = ""
"""No request may fail by it, so there is nothing to own up to."""
BY_PROVIDER = "the provider's"
"""The service answers for its provider: each failure is an answer with the name of the release that gave it."""
BY_ROLLBACK = "rolled back"
"""The rollout's end in the journal: failures between its switch and its end that are not the other colour's."""
LONGEST_S = 30.0
CALM_S = 1.0

Line = tuple[str, str, str, bool]
"""A row of the table: measure, value, limit, whether it is held."""


@dataclass(frozen=True)
class Injected:
    """A fault of this kind, from when to when, and by which state of a note, or word above, it is owned up to."""

    kind: str
    begun_ns: int
    ended_ns: int
    owned_by: str


@dataclass(frozen=True)
class Window:
    """In it failures are owned up to: those of answers of `colour`, with "" all, or without any answer."""

    kind: str
    begun_ns: int
    ended_ns: int
    fact: str
    colour: str = ""
    answered: bool = False
    """Only answers that an instance gave are."""

    def owns(self, rows: pd.DataFrame) -> pd.Series:
        """Return which of the failed `rows` it owns: those that were in flight in it."""
        owned = (rows["ended_ns"] >= self.begun_ns) & (rows["sent_ns"] <= self.ended_ns)
        if self.colour:
            owned &= rows["colour"].isin(["", self.colour])
        return owned & (rows["release"] != "") if self.answered else owned


@dataclass
class Account:
    """What became of every request, and what the journal says; `planned` switches were to end well."""

    rows: pd.DataFrame
    entries: Sequence[JournalEntry]
    injected: Sequence[Injected]
    summaries: Sequence[Summary]
    planned: int
    problems: Sequence[str] = ()
    """What the operator could not do."""

    def __post_init__(self) -> None:
        self.rows = self.rows.assign(sent_ns=self.rows["intended_ns"] + self.rows["send_lag_us"] * 1000)
        self.rows["ended_ns"] = self.rows["sent_ns"] + self.rows["service_us"] * 1000
        self.rows = self.rows.sort_values("sent_ns", ignore_index=True)

    @cached_property
    def failed(self) -> pd.DataFrame:
        return self.rows[self.rows["outcome"] == "error"]

    @cached_property
    def windows(self) -> list[Window]:
        """One for each fault that may cost requests and that the journal names."""
        found = (self._window(fault) for fault in self.injected if fault.owned_by != NOTHING)
        return [window for window in found if window]

    @property
    def silent(self) -> list[str]:
        """The kinds of the faults of which the journal has no word."""
        due = Counter(fault.kind for fault in self.injected if fault.owned_by != NOTHING)
        return sorted((due - Counter(window.kind for window in self.windows)).elements())

    @cached_property
    def owners(self) -> pd.Series:
        """For each failed request the kind of the fault that it fell to; "" for a lost one."""
        owners = pd.Series("", index=self.failed.index)
        for window in self.windows:
            owners[window.owns(self.failed) & (owners == "")] = window.kind
        return owners

    @property
    def lost(self) -> pd.DataFrame:
        return self.failed[self.owners == ""]

    @property
    def unasked(self) -> list[str]:
        """The ends of instances and edges that the journal names, and that no fault of ours explains."""
        spans = [(fault.begun_ns, fault.ended_ns) for fault in self.injected]
        ends = [entry for entry in self.entries if entry.kind == "note" and entry.state.endswith(" ended")]
        return [e.fact for e in ends if not any(begun <= e.t_ns <= ended for begun, ended in spans)]

    @property
    def switched(self) -> int:
        return sum(entry.kind == "end" and entry.state == "done" for entry in self.entries)

    def _window(self, fault: Injected) -> Window | None:
        if fault.owned_by == BY_PROVIDER:
            ended_ns = self._back(fault.begun_ns, fault.ended_ns)
            return Window(fault.kind, fault.begun_ns, ended_ns, "answered by the service", answered=True)
        if fault.owned_by == BY_ROLLBACK:
            return self._rollback(fault)
        spoken = [e for e in self.entries if e.state == fault.owned_by and self._during(e, fault)]
        if not spoken:
            return None
        return Window(fault.kind, fault.begun_ns, self._back(fault.begun_ns, spoken[0].t_ns), spoken[0].fact)

    def _rollback(self, fault: Injected) -> Window | None:
        ends = [e for e in self.entries if (e.kind, e.state) == ("end", "rolled back") and self._during(e, fault)]
        if not ends:
            return None
        own = [entry for entry in self.entries if entry.transition == ends[0].transition]
        begun_ns = next((entry.t_ns for entry in own if entry.state == "routed"), ends[0].t_ns)
        colour = next((str(entry.data["to"]) for entry in own if entry.kind == "begin"), "")
        return Window(fault.kind, begun_ns, ends[0].t_ns, ends[0].fact, colour)

    @staticmethod
    def _during(entry: JournalEntry, fault: Injected) -> bool:
        return fault.begun_ns <= entry.t_ns <= fault.ended_ns

    def _back(self, begun_ns: int, told_ns: int) -> int:
        """Return when users were served again after `told_ns`: nothing that was sent in the next second failed."""
        failures = self.failed["sent_ns"].to_numpy()
        back_ns, latest_ns = told_ns, int(begun_ns + LONGEST_S * 1e9)
        for sent_ns in failures[failures > told_ns]:
            if sent_ns - back_ns > CALM_S * 1e9:
                break
            back_ns = int(sent_ns)
        return min(back_ns, latest_ns)

    def lines(self) -> Iterator[Line]:
        """Yield the rows of the table."""
        intended, sent = (sum(getattr(one, name) for one in self.summaries) for name in ("intended", "sent"))
        due = 0.99 * intended  # what was due in the moment of its stop may not have been sent
        span_s = np.ptp(self.rows["sent_ns"]) / 1e9
        yield (
            "requests on record",
            f"{len(self.rows):,} of {sent:,}, {sent / span_s:.0f}/s for {span_s:.0f} s",
            f"all, ≥ {due:,.0f}",
            len(self.rows) == sent >= due,
        )
        yield "switches that ended well", f"{self.switched}", f"{self.planned}", self.switched == self.planned
        yield "could not be done", f"{'; '.join(self.problems) or 0}", "0", not self.problems
        yield "failed", f"{len(self.failed):,}", "", True
        for kind in dict.fromkeys(fault.kind for fault in self.injected):
            yield self._of(kind)
        causes = Counter(self.lost["error_type"])
        yield "lost: no word of them in the journal", f"{len(self.lost)} {dict(causes) or ''}".strip(), "0", not causes
        yield "faults that the journal does not name", f"{self.silent or 0}", "0", not self.silent
        yield "ends that nobody asked for", f"{self.unasked or 0}", "0", not self.unasked

    def _of(self, kind: str) -> Line:
        """Return the row of one kind of fault: how often, what it cost, and for how long."""
        times, own = sum(fault.kind == kind for fault in self.injected), self.failed[self.owners == kind]
        outcomes = ", ".join(f"{n} {what}" for what, n in Counter(own["error_type"]).most_common())
        longest_s = max(((w.ended_ns - w.begun_ns) / 1e9 for w in self.windows if w.kind == kind), default=0.0)
        shown = f"{len(own)}{f': {outcomes}' if outcomes else ''}; {times} ×, {longest_s:.1f} s at most"
        return f"— {kind}", shown, f"in {LONGEST_S:g} s" if longest_s else "0", longest_s < LONGEST_S
