"""The policy of a client: frozen, and None turns off any part of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tailrace.client import validation
from tailrace.client.accounting import Attempt, Call
from tailrace.client.call.causes import CAUSES, Cause
from tailrace.client.policy.caching import Cache
from tailrace.client.policy.fallbacks import Fallback
from tailrace.client.policy.limits import Breaker, Limits
from tailrace.client.policy.retrying import Retry
from tailrace.client.policy.spending import Price, Spend, checked_prices
from tailrace.client.policy.targets import Target, problem
from tailrace.client.request.guard import Guard

__all__ = [
    "AttemptHook",
    "Breaker",
    "Cache",
    "Fallback",
    "Hook",
    "Limits",
    "Policy",
    "Price",
    "Retry",
    "Spend",
    "Target",
]

Hook: TypeAlias = Callable[[Call], None]
AttemptHook: TypeAlias = Callable[[Attempt], None]


@dataclass(frozen=True, slots=True)
class Policy:
    """`Policy()` caches, retries and guards; `Policy(cache=None, retry=None, guard=None)` changes nothing."""

    cache: Cache | None = field(default_factory=Cache)
    retry: Retry | None = field(default_factory=Retry)
    limits: Limits | None = None
    spend: Spend | None = None
    guard: Guard | None = field(default_factory=Guard)
    targets: tuple[Target, ...] = ()
    """Where attempts go; (): where the client itself points. Fallbacks come after all of them."""
    fallbacks: tuple[Fallback, ...] = ()
    fallback_on: frozenset[Cause] = CAUSES - {"request"}
    """The causes of a failure for which the next fallback is tried (`client.call.causes`). A wrong request is wrong
    everywhere."""
    hooks: tuple[Hook, ...] = ()
    """Each is handed one row a call, when it is over."""
    attempt_hooks: tuple[AttemptHook, ...] = ()
    """Each is handed one row an attempt, when its outcome is known and before the next one."""
    prices: Mapping[str, Price | str] = field(default_factory=dict, hash=False)
    """Prices of your own, by the name of a model, or of an operation for calls without one (`"batches"`); they come
    before those of the table. A name instead of a price: the same price as that model."""

    def __post_init__(self) -> None:
        validation.instance("Policy", Cache, cache=self.cache, optional=True)
        validation.instance("Policy", Retry, retry=self.retry, optional=True)
        validation.instance("Policy", Limits, limits=self.limits, optional=True)
        validation.instance("Policy", Spend, spend=self.spend, optional=True)
        validation.instance("Policy", Guard, guard=self.guard, optional=True)
        checked_prices(self.prices)
        causes = self.fallback_on
        if not isinstance(causes, frozenset | set | tuple | list) or not CAUSES.issuperset(causes):
            raise ValueError(f"Policy(fallback_on={causes!r}): expected a set of {', '.join(sorted(CAUSES))}")
        object.__setattr__(self, "fallback_on", frozenset(causes))
        several = (
            ("fallbacks", "Fallback", self.fallbacks, lambda one: isinstance(one, Fallback)),
            ("targets", "Target", self.targets, lambda one: isinstance(one, Target)),
            ("hooks", "hook", self.hooks, callable),
            ("attempt_hooks", "hook", self.attempt_hooks, callable),
        )
        for name, form, items, fits in several:
            if not isinstance(items, tuple | list) or not all(map(fits, items)):
                raise ValueError(f"Policy({name}={items!r}): expected a tuple: {name}=({form}, …)")
        if found := problem(self.targets):
            raise ValueError(f"Policy(targets=…): {found}")

    @property
    def empty(self) -> bool:
        """Whether calls pass through untouched."""
        parts = (self.cache, self.retry, self.limits, self.spend, self.guard)
        return not (
            any(part is not None for part in parts)
            or self.targets
            or self.fallbacks
            or self.hooks
            or self.attempt_hooks
        )
