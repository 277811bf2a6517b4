"""Rate limits of requests and of tokens per minute."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tailrace.client.policy import Limits


class RateLimiter:
    """A token bucket that holds `per_min` / 6 (ten seconds' worth) and refills evenly.

    Reservations may overdraw it; each then waits for its turn, in order.
    """

    def __init__(self, per_min: float, now: Callable[[], float]) -> None:
        self._per_s = per_min / 60.0
        self._most = max(1.0, per_min / 6.0)
        self._now = now
        self._left = self._most
        self._at = now()
        self._lock = threading.Lock()

    def reserve(self, amount: float) -> float:
        """Take `amount`, and return the seconds to wait before using it."""
        with self._lock:
            now = self._now()
            self._left = min(self._most, self._left + max(0.0, now - self._at) * self._per_s)
            self._at = now
            self._left -= amount
            return max(0.0, -self._left / self._per_s)

    def give_back(self, amount: float) -> None:
        """Give back what was taken and not used; a negative amount takes what was used in excess."""
        with self._lock:
            self._left = min(self._most, self._left + amount)


class Rates:
    """The rates of requests and of tokens that hold together: of a policy, or of one of its targets."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self._most_tok = limits.tokens_per_min or 0.0
        self.requests = RateLimiter(limits.requests_per_min, now) if limits.requests_per_min else None
        self.tokens = RateLimiter(limits.tokens_per_min, now) if limits.tokens_per_min else None

    def reserve(self, estimated_tok: float) -> float:
        """Take one request and its tokens, and return the seconds to wait before it is sent.

        A caller names the most tokens of his answer, and a provider counts them: neither moves more than a minute's
        worth at once, or one call would stop all others.
        """
        requests_s = self.requests.reserve(1.0) if self.requests is not None else 0.0
        return max(requests_s, self.tokens.reserve(self._bounded(estimated_tok)) if self.tokens is not None else 0.0)

    def give_back(self, estimated_tok: float) -> None:
        """Give back what was reserved for a request that is not sent."""
        if self.requests is not None:
            self.requests.give_back(1.0)
        if self.tokens is not None:
            self.tokens.give_back(self._bounded(estimated_tok))

    def settle(self, estimated_tok: float, used_tok: float) -> None:
        """Correct what was reserved by what was used."""
        if self.tokens is not None:
            self.tokens.give_back(self._bounded(estimated_tok) - self._bounded(used_tok))

    def _bounded(self, tok: float) -> float:
        return max(0.0, min(tok, self._most_tok))


def rates(limits: Limits, now: Callable[[], float]) -> Rates | None:
    """Return the rates of `limits`; None when they set none."""
    return Rates(limits, now) if limits.requests_per_min or limits.tokens_per_min else None
