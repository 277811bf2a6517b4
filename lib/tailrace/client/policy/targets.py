"""Several keys and deployments of one model, among which attempts are spread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tailrace.client import validation
from tailrace.policy_rules import target_label, targets_problem

MOST_WEIGHT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """Another key, base URL (with its `/v1`), model or deployment to which attempts may go; what is empty stays.

    `Target()` is the call as its caller sends it. The credential of one origin is never sent to another: name the
    environment variable that holds the key.
    """

    base_url: str = ""
    api_key_env: str = ""
    model: str = ""
    weight: float = 1
    """Its share of the attempts among the targets that do not cool down."""
    serves: tuple[str, ...] = ()
    """The models for which it may be asked; (): for every model."""

    def __post_init__(self) -> None:
        validation.instance("Target", str, model=self.model, base_url=self.base_url, api_key_env=self.api_key_env)
        validation.positive("Target", weight=self.weight)
        if self.weight > MOST_WEIGHT:
            raise ValueError(f"Target(weight={self.weight!r}): expected at most {MOST_WEIGHT}")
        validation.base_url("Target", self.base_url)
        serves = self.serves
        if not isinstance(serves, tuple | list) or not all(isinstance(name, str) and name for name in serves):
            raise ValueError(f"Target(serves={serves!r}): expected a tuple of models: serves=('gpt-4o', …)")

    @property
    def label(self) -> str:
        """Its name in rows and metrics, from its settings: host and path, model and variable; "own" for `Target()`."""
        return target_label(self.base_url, self.model, self.api_key_env)


def problem(targets: tuple[Target, ...]) -> str:
    """Return why these cannot be the targets of one policy; "" when they can."""
    return targets_problem([(one.base_url, one.model, one.api_key_env) for one in targets])
