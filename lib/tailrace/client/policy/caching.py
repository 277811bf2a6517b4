"""What is cached, where, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from tailrace.client import validation
from tailrace.client.request import ignored_headers
from tailrace.client.request.identity import Identity
from tailrace.client.request.key_headers import LeftOut
from tailrace.client.stores import Memory, Store
from tailrace.policy_rules import ignored_headers_problem

_MOST_IGNORED: Final = 64


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

    ignore_headers: tuple[str, ...] = ()
    """Headers that cannot change an answer, besides those that never do (`request.key_headers`); `x-trace-*` stands for
    all that begin so. At most 64, and none that says who asks."""
    identity: Identity | None = None
    """Takes the place of the credential in the key: a name, or a function of the request's headers that returns one.

    Callers with one name get each other's answers, and keep getting them when their key is revoked. So it must name
    those who may, and come from what was verified, never from a header that a caller can write as he likes. A function
    is called for each call; where it returns "" or fails, the call is not cached.
    """

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
        self._check_key()

    def _check_key(self) -> None:
        names = self.ignore_headers
        if not isinstance(names, tuple | list) or len(names) > _MOST_IGNORED:
            raise ValueError(
                f"Cache(ignore_headers=…): expected a tuple of at most {_MOST_IGNORED} names: ignore_headers=('x-tag',)"
            )
        object.__setattr__(self, "ignore_headers", tuple(names))
        if reason := ignored_headers_problem(names):
            raise ValueError(f"Cache(ignore_headers=…): {reason}")
        if self.identity is not None and not callable(self.identity) and not (
            isinstance(self.identity, str) and self.identity
        ):  # fmt: skip
            raise ValueError(
                "Cache(identity=…): expected a text that is not empty, or a function of the request's headers; "
                f"found {type(self.identity).__name__ if self.identity != '' else 'an empty text'}"
            )

    @property
    def left_out(self) -> LeftOut:
        """Which headers are left out of the key."""
        return ignored_headers.left_out(self.ignore_headers, self.identity is not None)

    @property
    def kept_s(self) -> float:
        return self.ttl_s + max(self.stale_while_revalidate_s, self.stale_if_error_s)
