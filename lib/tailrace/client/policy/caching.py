"""What is cached, where, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from tailrace.client import validation
from tailrace.client.stores import Memory, Store


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
