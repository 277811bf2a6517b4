"""Checks and verdicts: when a limit is met, how checks make a verdict, and its word, sign and exit code.

PASS, FAIL or INCONCLUSIVE. No data is never PASS.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
State = Literal["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED"]
PASS: Final = "PASS"  # noqa: S105
FAIL: Final = "FAIL"
INCONCLUSIVE: Final = "INCONCLUSIVE"
SKIPPED: Final = "SKIPPED"
"""The profile leaves nothing to check: it counts neither way."""

SIGNS: Final[Mapping[State, str]] = types.MappingProxyType({PASS: "✓", FAIL: "✗", INCONCLUSIVE: "?", SKIPPED: "–"})
EXIT_CODES: Final[Mapping[Verdict, int]] = types.MappingProxyType({PASS: 0, FAIL: 1, INCONCLUSIVE: 2})
VERDICTS: Final = tuple(EXIT_CODES)
STATES: Final = tuple(SIGNS)


def of_ok(ok: object) -> Verdict:
    """Return PASS for True, FAIL for False, and INCONCLUSIVE for anything else."""
    return PASS if ok is True else FAIL if ok is False else INCONCLUSIVE


def ok_of(state: State) -> bool | None:
    """Return True for PASS, False for FAIL, and None for the others."""
    return {PASS: True, FAIL: False}.get(state)


def parse(word: object) -> Verdict | None:
    """Return `word`, from a file, when it is a verdict, else None."""
    return next((verdict for verdict in VERDICTS if verdict == word), None)


def state_of(document: Mapping[str, Any]) -> State:
    """Return the state of a check from a file: by its own word or, where that is missing, by its `ok`."""
    word = document.get("state")
    return SKIPPED if word == SKIPPED else parse(word) or of_ok(document.get("ok"))


def fold(states: Iterable[State]) -> Verdict:
    """Return FAIL when one is, else INCONCLUSIVE when one is or when there are none, else PASS.

    SKIPPED ones do not count.
    """
    counted = set(states) - {SKIPPED}
    if FAIL in counted:
        return FAIL
    return PASS if counted == {PASS} else INCONCLUSIVE


def decide(low: float, high: float, limit: float) -> Verdict:
    """Return PASS when the whole interval is within `limit`, FAIL when the whole is beyond, else INCONCLUSIVE."""
    if high <= limit:
        return PASS
    return FAIL if low > limit else INCONCLUSIVE


@dataclass(frozen=True)
class Check:
    """A named yes or no. `ok` is None when there was no data; `fact` is the measured fact and its limit."""

    name: str
    ok: bool | None
    fact: str
    skipped: bool = False
    """The profile leaves nothing to check here; the fact says why. It counts neither way."""
    why: str = ""
    """Of a check that failed, where it is known: who failed whom, when, and the cause."""

    @property
    def state(self) -> State:
        return SKIPPED if self.skipped else of_ok(self.ok)

    @classmethod
    def skip(cls, name: str, why: str) -> Check:
        """Return a check that counts neither way."""
        return cls(name, None, why, skipped=True)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Check:
        """Return the check that `document` describes."""
        skipped, why = document.get("state") == SKIPPED, str(document.get("why") or "")
        return cls(document["name"], document["ok"], document["fact"], skipped, why)

    def document(self) -> dict[str, object]:
        """Return it as JSON has it."""
        why = {"why": self.why} if self.why else {}
        return {"name": self.name, "ok": self.ok, "fact": self.fact, "state": self.state, **why}
