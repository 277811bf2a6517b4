"""A check: a named yes or no, with the fact that decided it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED"]


@dataclass(frozen=True)
class Check:
    """`ok` None means that there was no data to decide it; `fact` is what was measured, against which limit."""

    name: str
    ok: bool | None
    fact: str
    skipped: bool = False
    """The profile leaves nothing to check here; the fact says why. It counts neither way."""

    @property
    def state(self) -> State:
        if self.skipped:
            return "SKIPPED"
        return "INCONCLUSIVE" if self.ok is None else "PASS" if self.ok else "FAIL"

    @classmethod
    def skip(cls, name: str, why: str) -> Check:
        """Return a check that counts neither way."""
        return cls(name, None, why, skipped=True)

    def document(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return {"name": self.name, "ok": self.ok, "fact": self.fact, "state": self.state}
