"""The history of a deployment, read from its journal: who deployed what, when, why, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tailrace.deploy.journal import JournalEntry


@dataclass(frozen=True)
class HistoryEntry:
    """One rollout."""

    at: str
    who: str
    what: str
    """The verb: "up", "switch" or "rollback"."""
    release: str
    how: str
    """How it ended: "done", "rolled back", "down", …; "unfinished" when it did not."""
    why: str
    duration_s: float


def history(entries: Sequence[JournalEntry]) -> list[HistoryEntry]:
    """Return one entry per rollout, oldest first."""
    return [_entry(begin, entries) for begin in entries if begin.kind == "begin"]


def previous_release(entries: Sequence[JournalEntry]) -> tuple[str, str]:
    """Return the id of the release to roll back to; without one, an empty id and the reason."""
    done = {entry.transition for entry in entries if entry.kind == "end" and entry.state == "done"}
    completed = [entry.data for entry in entries if entry.kind == "begin" and entry.transition in done]
    if not completed or not completed[-1]["previous"]:
        return "", "there is no release before this one"
    if completed[-1]["verb"] == "rollback":
        return "", f"rolled back to release {completed[-1]['release']} already"
    return completed[-1]["previous"], ""


def last_environment(entries: Sequence[JournalEntry]) -> Mapping[str, str]:
    """Return what the last instance got beside its release."""
    begun = [entry for entry in entries if entry.kind == "begin"]
    return begun[-1].data["environment"] if begun else {}


def _entry(begin: JournalEntry, entries: Sequence[JournalEntry]) -> HistoryEntry:
    ends = [entry for entry in entries if entry.transition == begin.transition and entry.kind == "end"]
    how, why, t_ns = (ends[-1].state, ends[-1].fact, ends[-1].t_ns) if ends else ("unfinished", "", begin.t_ns)
    duration_s = round((t_ns - begin.t_ns) / 1e9, 3)
    return HistoryEntry(begin.at, begin.who, begin.data["verb"], begin.data["release"], how, why, duration_s)
