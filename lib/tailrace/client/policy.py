"""What a client may do on its own: one frozen policy, every part of which can be turned off with None."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tailrace.client import bounds
from tailrace.client.accounting import Call
from tailrace.client.request.guard import Guard
from tailrace.client.stores import Memory, Store

Hook: TypeAlias = Callable[[Call], None]


@dataclass(frozen=True, slots=True)
class Cache:
    """Complete, deterministic answers are kept for `ttl_s` and given again to whoever asks exactly the same.

    Deterministic: `temperature` is explicitly 0, or an embedding. Others are cached only when the caller opts in, by
    `deterministic_only=False` or with `cache-control: max-age=…` on the call.
    """

    store: Store = field(default_factory=Memory)
    ttl_s: float = 3600.0
    namespace: str = ""
    deterministic_only: bool = True
    stale_while_revalidate_s: float = 0.0
    """For so long after `ttl_s` an old answer is given at once while a new one is fetched."""
    stale_if_error_s: float = 0.0
    """For so long after `ttl_s` an old answer is given when the provider fails."""
    max_entry_bytes: int = 4 << 20
    coalesce: bool = True
    """Whoever asks what is being asked already waits for that answer."""
    lease_s: float = 30.0
    """How long another process may wait for ours to fetch, where the store can tell them."""

    def __post_init__(self) -> None:
        bounds.positive("Cache", ttl_s=self.ttl_s, max_entry_bytes=self.max_entry_bytes, lease_s=self.lease_s)
        bounds.from_0("Cache", stale_while_revalidate_s=self.stale_while_revalidate_s)
        bounds.from_0("Cache", stale_if_error_s=self.stale_if_error_s)
        if not (callable(getattr(self.store, "get", None)) and callable(getattr(self.store, "put", None))):
            raise ValueError(
                f"Cache(store=…): expected a store, found {type(self.store).__name__}; "
                "give Memory(…), Sqlite(path) or Redis(url)"
            )
        bounds.a("Cache", str, namespace=self.namespace)

    @property
    def kept_s(self) -> float:
        return self.ttl_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)


@dataclass(frozen=True, slots=True)
class Retry:
    """Up to `attempts` in all, with full jitter between them: uniform in [0, min(cap_s, base_s · 2ⁿ)].

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    attempts: int = 4
    base_s: float = 0.5
    cap_s: float = 8.0
    budget: float | None = 0.2
    """Retries per call, shared by all calls: in an outage the load grows by this share, not by `attempts`."""
    budget_burst: int = 10
    """Retries that are free before the share counts."""
    max_retry_after_s: float = 60.0
    """A provider that asks for a longer wait is not waited for."""
    idempotency_key: bool = True

    def __post_init__(self) -> None:
        bounds.positive("Retry", base_s=self.base_s, cap_s=self.cap_s)
        bounds.whole("Retry", attempts=self.attempts)
        bounds.from_0("Retry", budget=self.budget, optional=True)
        bounds.from_0("Retry", budget_burst=self.budget_burst, max_retry_after_s=self.max_retry_after_s)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens for `open_s` when, of at least `min_calls` in `window_s`, the share `failure_rate` failed."""

    failure_rate: float = 0.5
    min_calls: int = 20
    window_s: float = 10.0
    open_s: float = 5.0

    def __post_init__(self) -> None:
        bounds.positive("Breaker", failure_rate=self.failure_rate, window_s=self.window_s, open_s=self.open_s)
        bounds.whole("Breaker", min_calls=self.min_calls)
        if self.failure_rate > 1:
            raise ValueError(f"Breaker(failure_rate={self.failure_rate!r}): expected a share, at most 1: 0.5 is half")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in time and number. `deadline_s` covers the whole call: waiting, all attempts, the stream."""

    deadline_s: float | None = None
    attempt_timeout_s: float | None = None
    """Of one attempt, to its end; of a stream, to its first byte and then from chunk to chunk."""
    concurrency: int | Literal["adaptive"] | None = None
    """Attempts in flight: a number, or "adaptive": found as TCP finds its window, see `concurrency`."""
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    breaker: Breaker | None = field(default_factory=Breaker)
    hedge_after_s: float | None = None
    """Without an answer after so long, ask a second time and take the first of the two (async client only)."""

    def __post_init__(self) -> None:
        bounds.positive(
            "Limits", optional=True, deadline_s=self.deadline_s, attempt_timeout_s=self.attempt_timeout_s,
            requests_per_min=self.requests_per_min, tokens_per_min=self.tokens_per_min,
            hedge_after_s=self.hedge_after_s,
        )  # fmt: skip
        bounds.a("Limits", Breaker, breaker=self.breaker, optional=True)
        if self.concurrency != "adaptive":
            expected = "a whole number from 1, 'adaptive' or None"
            bounds.whole("Limits", expected, concurrency=self.concurrency, optional=True)


@dataclass(frozen=True, slots=True)
class Spend:
    """At most `max_usd` is spent: a call reserves what it could cost at most, and settles what it did cost."""

    max_usd: float
    per_tenant: bool = False
    unknown_price: Literal["reject", "allow"] = "reject"
    """What to do with a model whose price is not known, and which a limit can therefore not count."""
    assumed_output_tok: int = 4096
    """Reserved for a call that sets no maximum of its own."""

    def __post_init__(self) -> None:
        bounds.positive("Spend", max_usd=self.max_usd)
        bounds.whole("Spend", assumed_output_tok=self.assumed_output_tok)
        if self.unknown_price not in ("reject", "allow"):
            raise ValueError(f"Spend(unknown_price={self.unknown_price!r}): expected 'reject' or 'allow'")


@dataclass(frozen=True, slots=True)
class Fallback:
    """Whom to ask next when asking failed: another model, another base URL (with its `/v1`), or both.

    The credential of one origin is never sent to another: name the variable that holds the other's key.
    """

    model: str = ""
    base_url: str = ""
    api_key_env: str = ""

    def __post_init__(self) -> None:
        bounds.a("Fallback", str, model=self.model, base_url=self.base_url, api_key_env=self.api_key_env)
        if not (self.model or self.base_url):
            raise ValueError("Fallback(): expected a model, a base_url or both; found neither")
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"Fallback(base_url={self.base_url!r}): expected http:// or https://, with the API's /v1")


@dataclass(frozen=True, slots=True)
class Policy:
    """All of it. `Policy()` caches, retries and guards; `Policy(cache=None, retry=None, guard=None)` does nothing."""

    cache: Cache | None = field(default_factory=Cache)
    retry: Retry | None = field(default_factory=Retry)
    limits: Limits | None = None
    spend: Spend | None = None
    guard: Guard | None = field(default_factory=Guard)
    fallbacks: tuple[Fallback, ...] = ()
    hooks: tuple[Hook, ...] = ()

    def __post_init__(self) -> None:
        bounds.a("Policy", Cache, cache=self.cache, optional=True)
        bounds.a("Policy", Retry, retry=self.retry, optional=True)
        bounds.a("Policy", Limits, limits=self.limits, optional=True)
        bounds.a("Policy", Spend, spend=self.spend, optional=True)
        bounds.a("Policy", Guard, guard=self.guard, optional=True)
        several = (
            ("fallbacks", "Fallback", self.fallbacks, lambda one: isinstance(one, Fallback)),
            ("hooks", "hook", self.hooks, callable),
        )
        for name, form, given, fits in several:
            if not isinstance(given, tuple | list) or not all(map(fits, given)):
                raise ValueError(f"Policy({name}={given!r}): expected a tuple: {name}=({form}, …)")

    @property
    def empty(self) -> bool:
        """Whether calls go through untouched."""
        parts = (self.cache, self.retry, self.limits, self.spend, self.guard)
        return not (any(part is not None for part in parts) or self.fallbacks or self.hooks)
