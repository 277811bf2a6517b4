"""What is kept of a budget: what was spent in a period, and what the calls under way have reserved."""

from __future__ import annotations

import threading
from math import inf
from typing import Final, NamedTuple, Protocol, runtime_checkable

MOST_OWNERS: Final = 10_000
"""Owners with a budget of their own in one period. All further ones share one, so that no caller grows the store."""
OTHERS: Final = "*"
_ROUNDING_USD: Final = 1e-12


class Account(NamedTuple):
    """The budget of one owner in one period."""

    name: str
    period: str  # "ever", "2026-11-28" or "2026-11"
    owner: str  # a digest of the tenant; "" for all tenants together
    ends_at: float  # wall-clock seconds; infinity for ever


class Reservation(NamedTuple):
    """The most that one call can cost, held until the call settles."""

    account: Account
    ticket: str
    usd: float


class Balance(NamedTuple):
    """`left_usd` is what is left after a granted reservation, and what was left before a refused one."""

    granted: bool
    left_usd: float


class Budgets(Protocol):
    """Budgets by account. Safe for threads and processes; any method may raise when the place cannot be reached.

    `slow` says that a call may block an event loop for too long.
    """

    slow: bool

    def reserve(self, reservation: Reservation, limit_usd: float, now: float, kept_s: float) -> Balance:
        """Reserve what is left of `limit_usd`, or nothing. A store frees it by itself after `kept_s`."""
        ...

    def renew(self, reservation: Reservation, now: float, kept_s: float) -> None:
        """Keep the reservation for `kept_s` from now on, also when it has expired meanwhile."""
        ...

    def settle(self, reservation: Reservation, cost_usd: float) -> None:
        """Free the reservation, and count the cost, also when the reservation has expired."""
        ...

    def taken_usd(self, account: Account, now: float) -> tuple[float, float]:
        """Return what was spent and what is reserved."""
        ...


@runtime_checkable
class KeepsBudgets(Protocol):
    """A store that keeps budgets as well as answers."""

    def budgets(self) -> Budgets: ...


class MemoryBudgets:
    """Budgets in the memory of this process. Those of a period that is over are dropped."""

    slow = False

    def __init__(self) -> None:
        self._sums: dict[Account, _Sums] = {}
        self._first_end = inf
        """When the first period of an account ends."""
        self._lock = threading.RLock()  # the garbage collector settles an abandoned stream at any moment

    def __len__(self) -> int:
        return len(self._sums)

    def reserve(self, reservation: Reservation, limit_usd: float, now: float, kept_s: float) -> Balance:
        with self._lock:
            sums = self._sums.get(reservation.account)
            if sums is None:
                self._drop_ended(now)  # before those that are left are counted
                account = self._kept(reservation.account)
                sums = self._sums.get(account) or self._opened(account)
            left = limit_usd - sums.taken
            if reservation.usd > left + _ROUNDING_USD:
                return Balance(False, left)
            sums.taken += reservation.usd  # not from `left`: the collector may have settled a stream since
            return Balance(True, left - reservation.usd)

    def renew(self, reservation: Reservation, now: float, kept_s: float) -> None:
        """Nothing expires here: with the process, its calls end as well."""

    def settle(self, reservation: Reservation, cost_usd: float) -> None:
        with self._lock:
            account = reservation.account
            sums = self._sums.get(account) or self._sums.get(self._kept(account))
            if sums is not None:
                sums.taken += cost_usd - reservation.usd
                sums.spent += cost_usd

    def taken_usd(self, account: Account, now: float) -> tuple[float, float]:
        with self._lock:
            sums = self._sums.get(self._kept(account))
            return (0.0, 0.0) if sums is None else (sums.spent, sums.taken - sums.spent)

    def _kept(self, account: Account) -> Account:
        """Return the account under which `account` is kept: itself, or the one of all others."""
        if account in self._sums or len(self._sums) < MOST_OWNERS:
            return account
        return account._replace(owner=OTHERS)

    def _drop_ended(self, now: float) -> None:
        """Drop the accounts of periods that are over, once a period."""
        if now >= self._first_end:
            self._sums = {account: sums for account, sums in self._sums.items() if account.ends_at > now}
            self._first_end = min((account.ends_at for account in self._sums), default=inf)

    def _opened(self, account: Account) -> _Sums:
        opened = self._sums[account] = _Sums()
        self._first_end = min(self._first_end, account.ends_at)
        return opened


class SoleBudget:
    """The one budget of a policy that has no other and no period, in the memory of this process."""

    slow = False

    def __init__(self) -> None:
        self._spent = self._taken = 0.0
        self._lock = threading.RLock()  # as in MemoryBudgets

    def reserve(self, reservation: Reservation, limit_usd: float, now: float, kept_s: float) -> Balance:
        usd = reservation.usd
        with self._lock:
            left = limit_usd - self._taken
            if usd > left + _ROUNDING_USD:
                return Balance(False, left)
            self._taken += usd
        return Balance(True, left - usd)

    def renew(self, reservation: Reservation, now: float, kept_s: float) -> None:
        """Nothing expires here, either."""

    def settle(self, reservation: Reservation, cost_usd: float) -> None:
        with self._lock:
            self._taken += cost_usd - reservation.usd
            self._spent += cost_usd

    def taken_usd(self, account: Account, now: float) -> tuple[float, float]:
        with self._lock:
            return self._spent, self._taken - self._spent


class _Sums:
    """What was spent of one account, and what was taken: spent or reserved."""

    __slots__ = ("spent", "taken")

    def __init__(self) -> None:
        self.spent = self.taken = 0.0
