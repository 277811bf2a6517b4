"""The outcome of a deployment attempt: switched, refused, rolled back or skipped, with the states it passed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tailrace.deploy.account import UNTOUCHED, Account
from tailrace.deploy.rollout import State


@dataclass(frozen=True)
class DeployOutcome:
    """`states` are (state, t_ns, fact); `why` says what stopped a release that does not serve in the end."""

    result: Literal["switched", "refused", "rolled back", "skipped"]
    why: str
    to_colour: str
    """The colour that serves in the end; "" when the attempt was skipped."""
    states: tuple[State, ...]
    cut: int = 0
    """Requests that were cut off when the drain reached its deadline."""
    account: Account = UNTOUCHED
    """What the edge counted meanwhile, from state to state."""

    def at(self, state: str) -> int | None:
        """Return when `state` was reached (`perf_counter_ns`), or None when it never was."""
        return next((t_ns for reached, t_ns, _ in self.states if reached == state), None)
