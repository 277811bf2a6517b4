"""A spend limit that holds under concurrency: a call reserves its highest possible cost, and settles its real one."""

from __future__ import annotations

import hashlib
import os
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from math import inf
from typing import Final, NamedTuple

from tailrace.client.policy.spending import Period, Spend
from tailrace.client.stores.budgets import (
    Account,
    Balance,
    Budgets,
    KeepsBudgets,
    MemoryBudgets,
    Reservation,
    SoleBudget,
)

DAY_S: Final = 86_400
MOST_UNSETTLED: Final = 10_000
"""Costs that wait until a store can be reached again; the oldest are forgotten first."""


class Span(NamedTuple):
    """One period: its name, and its bounds in wall-clock seconds."""

    name: str
    begins_at: float
    ends_at: float


EVER: Final = Span("ever", -inf, inf)


def span(per: Period, now: float) -> Span:
    """Return the period, in UTC, that `now` lies in."""
    if per == "ever":
        return EVER
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return Span(f"{day:%Y-%m-%d}", day.timestamp(), day.timestamp() + DAY_S)
    first = day.replace(day=1)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return Span(f"{first:%Y-%m}", first.timestamp(), following.timestamp())


class SpendLimiter:
    """The budget of one policy, for all calls or for each tenant, kept in memory or in a store."""

    def __init__(self, spend: Spend, now: Callable[[], float] = time.time, shared: KeepsBudgets | None = None) -> None:
        self._spend = spend
        self.max_usd = spend.max_usd
        """The limit of each period."""
        self.reservation_s = spend.reservation_s
        self._now = now
        place = spend.store if spend.store is not None or spend.per == "ever" else shared
        self.place = place
        one = spend.per == "ever" and not spend.per_tenant
        alone = SoleBudget if one else MemoryBudgets
        self._budgets: Budgets = place.budgets() if place is not None else alone()
        self.stored = not isinstance(self._budgets, MemoryBudgets | SoleBudget)
        self.slow = self._budgets.slow
        self._span = span(spend.per, now())
        self._left_usd = self.max_usd
        self._tickets = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._count = 0
        self._only = Account(spend.name, EVER.name, "", EVER.ends_at) if one else None
        """The one account there is; None when there are several."""
        self.unsettled: deque[tuple[Reservation, float]] = deque(maxlen=MOST_UNSETTLED)
        # a stream that was left just before the process or the client ends is settled all the same
        self._end = weakref.finalize(self, _flush_at_the_end, self._budgets, self.unsettled)

    @property
    def ends_at(self) -> float:
        """When the period ends, in wall-clock seconds; infinity for ever."""
        return self._now_span().ends_at

    def resets_in_s(self) -> float | None:
        """Return the seconds until the next period; None when there is none."""
        ends_at = self.ends_at
        return None if ends_at == inf else max(0.0, ends_at - self._now())

    def left_usd(self, tenant: str = "") -> float:
        """Return what is left; of a store that may block, what was left when it was last asked by this process."""
        if self.slow:
            self._now_span()
            return self._left_usd
        spent, reserved = self._budgets.taken_usd(self._account(tenant), self._now())
        return self.max_usd - spent - reserved

    def spent_usd(self, tenant: str = "") -> float:
        """Return what was spent; may block."""
        return self._budgets.taken_usd(self._account(tenant), self._now())[0]

    def reserved_usd(self, tenant: str = "") -> float:
        """Return what is reserved; may block."""
        return self._budgets.taken_usd(self._account(tenant), self._now())[1]

    def reservation(self, tenant: str, most_usd: float) -> Reservation:
        """Return a reservation of `most_usd`, which is still to be made."""
        ticket = ""
        if self.stored:  # memory holds no single reservations
            self._count += 1
            ticket = f"{self._tickets}-{os.getpid()}-{self._count}"
        return Reservation(self._only or self._account(tenant), ticket, most_usd)

    def reserve(self, reservation: Reservation, life_s: float = 0.0) -> Balance:
        """Reserve, if as much is left, for a call that may live for `life_s`; may block when `slow`."""
        if not self.stored:  # memory keeps it until the call settles
            return self._budgets.reserve(reservation, self.max_usd, self._now(), inf)
        kept_s = max(self.reservation_s, life_s)
        balance = self._budgets.reserve(reservation, self.max_usd, self._now(), kept_s)
        self._left_usd = balance.left_usd
        return balance

    def renew(self, reservation: Reservation, life_s: float = 0.0) -> None:
        """Keep the reservation as long again; may block when `slow`."""
        self._budgets.renew(reservation, self._now(), max(self.reservation_s, life_s))

    def settle(self, reservation: Reservation, cost_usd: float | None) -> None:
        """Free the reservation and count the cost; an unknown cost counts as the whole reservation.

        A budget in a store that may block is settled by the next `flush`.
        """
        counted = reservation.usd if cost_usd is None else cost_usd
        if self.slow:
            self.unsettled.append((reservation, counted))
            if not self._end.alive:  # the collector takes the client before its streams
                _flush_at_the_end(self._budgets, self.unsettled)
        else:
            self._budgets.settle(reservation, counted)

    def flush(self) -> None:
        """Settle what is unsettled; may block. Raise what the store raises, and leave the rest for the next time."""
        _flush(self._budgets, self.unsettled)

    def _account(self, tenant: str) -> Account:
        now = EVER if self._spend.per == "ever" else self._now_span()
        owner = tenant if self._spend.per_tenant else ""
        if owner and self.slow:  # a store is read by others
            owner = hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        return Account(self._spend.name, now.name, owner, now.ends_at)

    def _now_span(self) -> Span:
        """Return the period of this moment."""
        if self._spend.per != "ever" and not self._span.begins_at <= (now := self._now()) < self._span.ends_at:
            self._span = span(self._spend.per, now)
            self._left_usd = self.max_usd
        return self._span


def _flush(budgets: Budgets, unsettled: deque[tuple[Reservation, float]]) -> None:
    while unsettled:
        try:
            reservation, cost_usd = unsettled.popleft()
        except IndexError:  # another thread was quicker
            return
        try:
            budgets.settle(reservation, cost_usd)
        except Exception:
            unsettled.appendleft((reservation, cost_usd))
            raise


def _flush_at_the_end(budgets: Budgets, unsettled: deque[tuple[Reservation, float]]) -> None:
    with suppress(Exception):  # nobody is left who could try again: the reservations expire
        _flush(budgets, unsettled)
