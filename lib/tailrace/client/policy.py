"""The policy of a client: frozen, and None turns off any part of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tailrace.client import validation
from tailrace.client.accounting import Call
from tailrace.client.request.guard import Guard
from tailrace.client.stores import Memory, Store

Hook: TypeAlias = Callable[[Call], None]


@dataclass(frozen=True, slots=True)
class Cache:
    """Complete, deterministic answers are stored for `ttl_s` and reused for requests that are exactly the same.

    Deterministic: `temperature` is explicitly 0, or an embedding. Other answers are cached when the caller opts in, by
    `deterministic_only=False` or with `cache-control: max-age=…` on the call.
    """

    store: Store = field(default_factory=Memory)
    ttl_s: float = 3600.0
    namespace: str = ""
    deterministic_only: bool = True
    stale_while_revalidate_s: float = 0.0
    """For this long after `ttl_s`, give the old answer at once and fetch a new one in the background."""
    stale_if_error_s: float = 0.0
    """For this long after `ttl_s`, give the old answer when the provider fails."""
    max_entry_bytes: int = 4 << 20
    coalesce: bool = True
    """A call for an answer that is being fetched waits for it, and sends nothing itself."""
    lease_s: float = 30.0
    """How long other processes wait for the one that fetches, when they share the store."""

    def __post_init__(self) -> None:
        validation.positive("Cache", ttl_s=self.ttl_s, max_entry_bytes=self.max_entry_bytes, lease_s=self.lease_s)
        validation.not_negative("Cache", stale_while_revalidate_s=self.stale_while_revalidate_s)
        validation.not_negative("Cache", stale_if_error_s=self.stale_if_error_s)
        if not (callable(getattr(self.store, "get", None)) and callable(getattr(self.store, "put", None))):
            raise ValueError(
                f"Cache(store=…): expected a store, found {type(self.store).__name__}; "
                "give Memory(…), Sqlite(path) or Redis(url)"
            )
        validation.instance("Cache", str, namespace=self.namespace)

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
    """Retries per call, shared by all calls: in an outage the load grows by this share, not `attempts` times."""
    budget_burst: int = 10
    """Retries that are allowed before the share counts."""
    max_retry_after_s: float = 60.0
    """When the provider demands a longer wait, the call fails at once."""
    idempotency_key: bool = True

    def __post_init__(self) -> None:
        validation.positive("Retry", base_s=self.base_s, cap_s=self.cap_s)
        validation.positive_int("Retry", attempts=self.attempts)
        validation.not_negative("Retry", budget=self.budget, optional=True)
        validation.not_negative("Retry", budget_burst=self.budget_burst, max_retry_after_s=self.max_retry_after_s)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Opens for `open_s` when at least `min_calls` were made within `window_s` and the share `failure_rate` failed."""

    failure_rate: float = 0.5
    min_calls: int = 20
    window_s: float = 10.0
    open_s: float = 5.0

    def __post_init__(self) -> None:
        validation.positive("Breaker", failure_rate=self.failure_rate, window_s=self.window_s, open_s=self.open_s)
        validation.positive_int("Breaker", min_calls=self.min_calls)
        if self.failure_rate > 1:
            raise ValueError(f"Breaker(failure_rate={self.failure_rate!r}): expected a share, at most 1: 0.5 is half")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of time and number. `deadline_s` covers the whole call: waiting, all attempts, the stream."""

    deadline_s: float | None = None
    first_byte_s: float | None = None
    """The same until the answer begins: waiting and all attempts, but not the length of a stream. A plain answer has
    to be whole by then."""
    attempt_timeout_s: float | None = None
    """For one whole attempt; of a stream, until its first byte."""
    silence_s: float | None = None
    """Between the chunks of a stream; None: as long as an attempt may take."""
    concurrency: int | Literal["adaptive"] | None = None
    """Attempts in flight: a number, or "adaptive", which is found as TCP finds its window (`limiters.concurrency`)."""
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    breaker: Breaker | None = field(default_factory=Breaker)
    hedge_after_s: float | None = None
    """After this long without an answer, send a second copy and take the first good answer (async client only)."""

    def __post_init__(self) -> None:
        validation.positive(
            "Limits", optional=True, deadline_s=self.deadline_s, first_byte_s=self.first_byte_s,
            attempt_timeout_s=self.attempt_timeout_s, silence_s=self.silence_s,
            requests_per_min=self.requests_per_min, tokens_per_min=self.tokens_per_min,
            hedge_after_s=self.hedge_after_s,
        )  # fmt: skip
        validation.instance("Limits", Breaker, breaker=self.breaker, optional=True)
        if self.concurrency != "adaptive":
            expected = "a whole number from 1, 'adaptive' or None"
            validation.positive_int("Limits", expected, concurrency=self.concurrency, optional=True)

    @property
    def idle_s(self) -> float | None:
        """The longest silence within a stream."""
        return self.attempt_timeout_s if self.silence_s is None else self.silence_s


@dataclass(frozen=True, slots=True)
class Spend:
    """Spend at most `max_usd`: a call reserves the most it can cost, and settles its real cost."""

    max_usd: float
    per_tenant: bool = False
    unknown_price: Literal["reject", "allow"] = "reject"
    """What to do with a model of unknown price, which the limit cannot count."""
    assumed_output_tok: int = 4096
    """Reserved for a call that sets no limit of its own."""

    def __post_init__(self) -> None:
        validation.positive("Spend", max_usd=self.max_usd)
        validation.positive_int("Spend", assumed_output_tok=self.assumed_output_tok)
        if self.unknown_price not in ("reject", "allow"):
            raise ValueError(f"Spend(unknown_price={self.unknown_price!r}): expected 'reject' or 'allow'")


@dataclass(frozen=True, slots=True)
class Fallback:
    """Another model, another base URL (with its `/v1`), or both, to try when a call failed.

    The credential of one origin is never sent to another: name the environment variable that holds the other's key.
    """

    model: str = ""
    base_url: str = ""
    api_key_env: str = ""

    def __post_init__(self) -> None:
        validation.instance("Fallback", str, model=self.model, base_url=self.base_url, api_key_env=self.api_key_env)
        if not (self.model or self.base_url):
            raise ValueError("Fallback(): expected a model, a base_url or both; found neither")
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ValueError(f"Fallback(base_url={self.base_url!r}): expected http:// or https://, with the API's /v1")


@dataclass(frozen=True, slots=True)
class Policy:
    """`Policy()` caches, retries and guards; `Policy(cache=None, retry=None, guard=None)` changes nothing."""

    cache: Cache | None = field(default_factory=Cache)
    retry: Retry | None = field(default_factory=Retry)
    limits: Limits | None = None
    spend: Spend | None = None
    guard: Guard | None = field(default_factory=Guard)
    fallbacks: tuple[Fallback, ...] = ()
    hooks: tuple[Hook, ...] = ()

    def __post_init__(self) -> None:
        validation.instance("Policy", Cache, cache=self.cache, optional=True)
        validation.instance("Policy", Retry, retry=self.retry, optional=True)
        validation.instance("Policy", Limits, limits=self.limits, optional=True)
        validation.instance("Policy", Spend, spend=self.spend, optional=True)
        validation.instance("Policy", Guard, guard=self.guard, optional=True)
        several = (
            ("fallbacks", "Fallback", self.fallbacks, lambda one: isinstance(one, Fallback)),
            ("hooks", "hook", self.hooks, callable),
        )
        for name, form, items, fits in several:
            if not isinstance(items, tuple | list) or not all(map(fits, items)):
                raise ValueError(f"Policy({name}={items!r}): expected a tuple: {name}=({form}, …)")

    @property
    def empty(self) -> bool:
        """Whether calls pass through untouched."""
        parts = (self.cache, self.retry, self.limits, self.spend, self.guard)
        return not (any(part is not None for part in parts) or self.fallbacks or self.hooks)
