"""How often and when an attempt is made again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tailrace.client import validation
from tailrace.client.accounting import Attempt


@dataclass(frozen=True, slots=True)
class Retry:
    """Up to `attempts` in all, with full jitter between them: uniform in [0, min(cap_s, base_s · 2ⁿ)].

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    attempts: int = 4
    base_s: float = 0.5
    cap_s: float = 8.0
    budget: float | None = 0.2
    """Retries per call, shared by all calls to a model with one credential: in an outage the load grows by this share,
    not `attempts` times, and no model's failures take the retries of another."""
    budget_burst: int = 10
    """Retries that are allowed before the share counts."""
    max_retry_after_s: float = 120.0
    """When the provider demands a longer wait, the call fails at once. The SDK has the same limit."""
    idempotency_key: bool = True
    retry_if: Callable[[Attempt], bool | None] | None = None
    """Asked about each failed attempt: whether to make another one; None leaves it to the policy. The other limits hold
    in any case: attempts, budget, deadline, the longest `Retry-After`, and whether the body can be sent again."""

    def __post_init__(self) -> None:
        validation.positive("Retry", base_s=self.base_s, cap_s=self.cap_s)
        validation.positive_int("Retry", attempts=self.attempts)
        validation.not_negative("Retry", budget=self.budget, optional=True)
        validation.not_negative("Retry", budget_burst=self.budget_burst, max_retry_after_s=self.max_retry_after_s)
        if self.retry_if is not None and not callable(self.retry_if):
            raise ValueError(f"Retry(retry_if={self.retry_if!r}): expected a function of an Attempt, or None")
