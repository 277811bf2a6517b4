"""The history of a deployment, read from its journal: who deployed what, when, why, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tailrace.deploy.journal import JournalEntry


@dataclass(frozen=True)
class HistoryEntry:
    """One rollout."""

    at: str
    who: str
    what: str
    """The verb: "up", "switch", "restart" or "rollback"."""
    release: str
    how: str
    """How it ended: "done", "rolled back", "down", …; "unfinished" when it did not."""
    why: str
    duration_s: float
    changes: tuple[str, ...] = ()
    """What was new in the release: by names, without values."""


def history(entries: Sequence[JournalEntry]) -> list[HistoryEntry]:
    """Return one entry per rollout, oldest first."""
    return [_entry(begin, entries) for begin in entries if begin.kind == "begin"]


def previous_release(entries: Sequence[JournalEntry]) -> tuple[str, str]:
    """Return the id of the release to roll back to; without one, an empty id and the reason.

    That is the last release that served before the one that serves; a restart brought no other one.
    """
    served = [begin.data for begin in _completed(entries) if begin.data["verb"] != "restart"]
    if not served:
        return "", "there is no release before this one"
    present = served[-1]["release"]
    for data in reversed(served):
        if data["release"] != present:
            return data["release"], ""
        if data["verb"] == "rollback":
            return "", f"rolled back to release {present} already"
    return "", "there is no release before this one"


def last_environment(entries: Sequence[JournalEntry]) -> Mapping[str, str]:
    """Return what the last instance got beside its release."""
    begun = [entry for entry in entries if entry.kind == "begin"]
    return begun[-1].data["environment"] if begun else {}


def begun(entries: Sequence[JournalEntry], generation: int) -> Mapping[str, Any]:
    """Return how the rollout of the instance of that generation began; nothing where the journal has none."""
    found = [e.data for e in entries if e.kind == "begin" and e.data.get("generation") == generation]
    return found[-1] if found else {}


def environment_of(entries: Sequence[JournalEntry], generation: int) -> Mapping[str, str]:
    """Return what the instance of that generation got beside its release; nothing where the journal has none."""
    environment: Mapping[str, str] = begun(entries, generation).get("environment", {})
    return environment


def environment_to_return_to(entries: Sequence[JournalEntry], release: str, serving: int) -> Mapping[str, str]:
    """Return what an instance of a former release gets beside it: the variables that it got, with the values of today.

    Its provider may have moved since; the names by which it asks for it are its own. `serving` is the generation of the
    instance that serves.
    """
    former = [begin.data["environment"] for begin in _completed(entries) if begin.data["release"] == release]
    now = environment_of(entries, serving) if serving else last_environment(entries)
    return {name: now.get(name, value) for name, value in former[-1].items()} if former else now


def _completed(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """Return how each rollout that was completed began, oldest first."""
    done = {entry.transition for entry in entries if entry.kind == "end" and entry.state == "done"}
    return [entry for entry in entries if entry.kind == "begin" and entry.transition in done]


def _entry(begin: JournalEntry, entries: Sequence[JournalEntry]) -> HistoryEntry:
    ends = [entry for entry in entries if entry.transition == begin.transition and entry.kind == "end"]
    how, why, t_ns = (ends[-1].state, ends[-1].fact, ends[-1].t_ns) if ends else ("unfinished", "", begin.t_ns)
    duration_s, changes = round((t_ns - begin.t_ns) / 1e9, 3), tuple(begin.data.get("changes", ()))
    return HistoryEntry(begin.at, begin.who, begin.data["verb"], begin.data["release"], how, why, duration_s, changes)
