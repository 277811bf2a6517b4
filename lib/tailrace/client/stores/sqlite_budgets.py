"""Budgets in an SQLite file, shared by the processes of one machine.

The file lies beside that of the answers, so that clearing a cache, or renaming a damaged one, makes nobody rich.
Amounts are whole nano-dollars: sums of them are exact.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tailrace.client.stores import private_file
from tailrace.client.stores.budgets import MOST_OWNERS, OTHERS, Account, Balance, Reservation

_NANO: Final = 1_000_000_000
_LATE_S: Final = 86_400.0
"""A call may settle for so long after the end of its period; then the period is deleted."""
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS spent (
    name TEXT, period TEXT, owner TEXT, nano_usd INTEGER NOT NULL, ends_at REAL NOT NULL,
    PRIMARY KEY (name, period, owner)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reserved (
    ticket TEXT PRIMARY KEY, name TEXT, period TEXT, owner TEXT, nano_usd INTEGER NOT NULL, expires_at REAL NOT NULL,
    kept_s REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS reserved_of ON reserved (name, period, owner, nano_usd);
"""


class SqliteBudgets:
    """Budgets in the file at `path`; an operation that waits longer than `busy_s` for other processes fails.

    A crash of a process loses nothing; a power cut may lose the last amounts.
    """

    slow = True

    def __init__(self, path: Path, busy_s: float) -> None:
        self.path = path
        self._busy_s = busy_s
        self._lock = threading.RLock()  # the garbage collector may settle at any moment, in any thread
        self._database: sqlite3.Connection | None = None
        self._pid = 0

    def reserve(self, reservation: Reservation, limit_usd: float, now: float, kept_s: float) -> Balance:
        nano = round(reservation.usd * _NANO)
        with self._transaction() as database:
            # the second condition: the clock went back since it was made
            database.execute("DELETE FROM reserved WHERE expires_at <= ? OR expires_at > ? + 10 * kept_s", (now, now))
            account = _opened(database, reservation.account, now)
            spent, reserved = _taken(database, account)
            left = round(limit_usd * _NANO) - spent - reserved
            if nano > left:
                return Balance(False, left / _NANO)
            row = (reservation.ticket, account.name, account.period, account.owner, nano, now + kept_s, kept_s)
            database.execute("INSERT INTO reserved VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            return Balance(True, (left - nano) / _NANO)

    def renew(self, reservation: Reservation, now: float, kept_s: float) -> None:
        with self._transaction() as database:
            times = (now + kept_s, kept_s, reservation.ticket)
            kept = database.execute("UPDATE reserved SET expires_at = ?, kept_s = ? WHERE ticket = ?", times)
            if not kept.rowcount:
                account = _opened(database, reservation.account, now)
                row = (reservation.ticket, *account[:3], round(reservation.usd * _NANO), now + kept_s, kept_s)
                database.execute("INSERT INTO reserved VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def settle(self, reservation: Reservation, cost_usd: float) -> None:
        with self._transaction() as database:
            held = database.execute("SELECT owner FROM reserved WHERE ticket = ?", (reservation.ticket,)).fetchone()
            database.execute("DELETE FROM reserved WHERE ticket = ?", (reservation.ticket,))
            account = reservation.account if held is None else reservation.account._replace(owner=held[0])
            database.execute(
                "INSERT INTO spent VALUES (?, ?, ?, ?, ?) ON CONFLICT (name, period, owner) "
                "DO UPDATE SET nano_usd = nano_usd + excluded.nano_usd",
                (*account[:3], round(cost_usd * _NANO), min(account.ends_at, 1e18)),
            )

    def taken_usd(self, account: Account, now: float) -> tuple[float, float]:
        with self._transaction() as database:
            database.execute("DELETE FROM reserved WHERE expires_at <= ?", (now,))
            spent, reserved = _taken(database, account)
            return spent / _NANO, reserved / _NANO

    def close(self) -> None:
        with self._lock:
            if self._database is not None and self._pid == os.getpid():
                self._database.close()
            self._database = None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the right to write among all processes; commit at the end, or nothing."""
        with self._lock:
            database = self._open()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        """Return the connection; one must not be used after a fork."""
        if self._database is None or self._pid != os.getpid():
            private_file.make(self.path)
            database = sqlite3.connect(self.path, timeout=self._busy_s, check_same_thread=False, isolation_level=None)
            try:
                _prepare(database, time.monotonic() + self._busy_s)
            except sqlite3.DatabaseError:
                database.close()
                raise
            self._database, self._pid = database, os.getpid()
        return self._database


def _prepare(database: sqlite3.Connection, until: float) -> None:
    """Turn WAL on and make the schema. SQLite ignores its timeout at the first, so that is tried again."""
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(0.005)
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(_SCHEMA)


def _opened(database: sqlite3.Connection, account: Account, now: float) -> Account:
    """Return the account that keeps what `account` spends: itself, or the one of all others. Open it if it is new."""
    found = database.execute("SELECT 1 FROM spent WHERE name = ? AND period = ? AND owner = ?", account[:3])
    if found.fetchone() is None:
        database.execute("DELETE FROM spent WHERE ends_at <= ?", (now - _LATE_S,))
        kept = "SELECT count(*) FROM spent WHERE name = ? AND period = ?"
        if database.execute(kept, account[:2]).fetchone()[0] >= MOST_OWNERS:
            account = account._replace(owner=OTHERS)
        new = (*account[:3], 0, min(account.ends_at, 1e18))
        database.execute("INSERT OR IGNORE INTO spent VALUES (?, ?, ?, ?, ?)", new)
    return account


def _taken(database: sqlite3.Connection, account: Account) -> tuple[int, int]:
    """Return what was spent and what is reserved, in nano-dollars."""
    spent = "SELECT nano_usd FROM spent WHERE name = ? AND period = ? AND owner = ?"
    reserved = "SELECT sum(nano_usd) FROM reserved WHERE name = ? AND period = ? AND owner = ?"
    amounts = [database.execute(query, account[:3]).fetchone() for query in (spent, reserved)]
    return tuple((row[0] or 0) if row else 0 for row in amounts)  # type: ignore[return-value]
