"""Entries in one SQLite file, shared by threads and processes, which survives `kill -9`.

WAL lets readers go on while one writes. Reads have a connection of their own, which never waits for a lock: they may
run on an event loop while a thread waits to write. A damaged file is renamed to `<name>.corrupt-<time>` and a new one
is made: a cache may be lost, a call may not.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tailrace.client.stores import private_file
from tailrace.client.stores.entry import Entry
from tailrace.client.stores.sqlite_budgets import SqliteBudgets
from tailrace.client.stores.tally import MOST_ROWS, OTHERS, Row, Tally

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, expires_at REAL NOT NULL, used_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_used ON entries (used_at);
CREATE TABLE IF NOT EXISTS leases (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tally (
    model TEXT, tenant TEXT, hits INTEGER NOT NULL, misses INTEGER NOT NULL, PRIMARY KEY (model, tenant)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total (only INTEGER PRIMARY KEY CHECK (only = 1), bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (1, 0);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON entries BEGIN UPDATE total SET bytes = bytes + new.size; END;
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON entries BEGIN UPDATE total SET bytes = bytes - old.size; END;
"""
_COUNT = """INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT (model, tenant)
    DO UPDATE SET hits = hits + excluded.hits, misses = misses + excluded.misses"""
_TOUCH_S = 60.0  # the last use of an entry is written at most this often: most hits only read
_READ_BUSY_S = 0.01
_PAUSE = 2.0  # a file that stays locked for `busy_s` is not written for so many times as long
_TRANSIENT = ("no such table", "locked")  # another process is making the file, or holds all of it: a miss

log = logging.getLogger(__name__)


class Sqlite:
    """Entries in the file `path`; beyond `max_bytes` of values the least recently used are dropped first.

    The file and its folders are made when the first answer is stored.
    """

    slow_get = False
    slow_put = True
    shared = True

    def __init__(self, path: str | os.PathLike[str], max_bytes: int = 256 << 20, busy_s: float = 2.0) -> None:
        if max_bytes <= 0:
            raise ValueError(f"Sqlite(max_bytes={max_bytes}): expected more than 0")
        self.path = Path(path)
        self.max_bytes = max_bytes
        self._busy_s = busy_s
        self.tally = Tally()
        self._reading = _Side()
        self._writing = _Side()
        self._owner = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._inode = 0
        self._paused_until = 0.0
        self._budgets = SqliteBudgets(self.path.with_name(f"{self.path.name}.budgets"), busy_s)

    def __repr__(self) -> str:
        return f"Sqlite({str(self.path)!r})"

    def get(self, key: str, now: float) -> Entry | None:
        with self._reading.lock:
            database = self._reader()
            try:
                return self._get(database, key, now) if database is not None else None
            except sqlite3.DatabaseError as error:
                if any(transient in str(error) for transient in _TRANSIENT):
                    return None
                damaged = error
        if self._writing.lock.acquire(blocking=False):  # a thread that is writing finds the damage itself
            try:
                self._set_aside_if_corrupt(damaged)
            finally:
                self._writing.lock.release()
        return None

    def put(self, key: str, entry: Entry) -> None:
        packed = entry.pack()
        if len(packed) > self.max_bytes:
            return
        with self._turn():
            try:
                self._put(key, packed, entry.expires_at)
            except sqlite3.DatabaseError as error:
                if self._set_aside_if_corrupt(error):
                    self._put(key, packed, entry.expires_at)

    def lease(self, key: str, now: float, seconds: float) -> bool:
        take = """INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
            SET owner = excluded.owner, expires_at = excluded.expires_at
            WHERE expires_at <= ? OR expires_at > ?"""  # the second condition: the clock went back since it was taken
        with self._turn(), self._open() as database:
            taken = database.execute(take, (key, self._owner, now + seconds, now, now + 10 * seconds))
            return taken.rowcount == 1

    def release(self, key: str) -> None:
        with self._turn(), self._open() as database:
            database.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, self._owner))

    def budgets(self) -> SqliteBudgets:
        """Return the budgets of this file, in one of their own beside it: `llm.db.budgets`."""
        return self._budgets

    def close(self) -> None:
        if len(self.tally) and self.path.exists():
            with suppress(sqlite3.Error), self._turn(), self._open() as database:
                self.tally.flush(partial(_count, database))
        for side in (self._writing, self._reading):
            with side.lock:
                side.close()
        self._budgets.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the right to write in this process; after a wait in vain, fail at once for a while."""
        with self._writing.lock:
            if time.monotonic() < self._paused_until:
                raise sqlite3.OperationalError("database is locked, and was a moment ago")
            try:
                yield
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    self._paused_until = time.monotonic() + _PAUSE * self._busy_s
                raise

    def _reader(self) -> sqlite3.Connection | None:
        """Return the connection for reads, or None when there is no file yet."""
        side = self._reading
        if side.mine() is None and self.path.exists():
            self._inode = self._inode or _inode(self.path)
            side.open(sqlite3.connect(self.path, timeout=_READ_BUSY_S, check_same_thread=False))
        return side.mine()

    def _get(self, database: sqlite3.Connection, key: str, now: float) -> Entry | None:
        row = database.execute("SELECT value, expires_at, used_at FROM entries WHERE key = ?", (key,)).fetchone()
        if row is None or row[1] <= now:
            return None
        try:
            entry = Entry.unpack(row[0])
        except ValueError:
            log.warning("cache %s: an entry is damaged and was dropped", self.path)
            _try_to_write(database, "DELETE FROM entries WHERE key = ?", key)
            return None
        if abs(now - row[2]) > _TOUCH_S:
            _try_to_write(database, "UPDATE entries SET used_at = ? WHERE key = ?", now, key)
            with suppress(sqlite3.OperationalError), database:  # a process that only reads writes its counts here
                self.tally.flush(partial(_count, database))
        return entry

    def _put(self, key: str, packed: bytes, expires_at: float) -> None:
        now = time.time()
        with self._open() as database:
            database.execute("DELETE FROM entries WHERE key = ?", (key,))
            database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (key, packed, len(packed), expires_at, now))
            self._make_room(database, now)
            self.tally.flush(partial(_count, database))

    def _make_room(self, database: sqlite3.Connection, now: float) -> None:
        (used,) = database.execute("SELECT bytes FROM total").fetchone()
        if used <= self.max_bytes:
            return
        database.execute("DELETE FROM entries WHERE expires_at <= ?", (now,))
        # down to 90 %, so that not every put has to make room again
        target, (used,) = int(self.max_bytes * 0.9), database.execute("SELECT bytes FROM total").fetchone()
        oldest = database.execute("SELECT key, size FROM entries ORDER BY used_at").fetchall() if used > target else []
        for key, size in oldest:
            if used <= target:
                break
            database.execute("DELETE FROM entries WHERE key = ?", (key,))
            used -= size

    def _open(self) -> sqlite3.Connection:
        """Return the connection for writes, and make the schema first."""
        database = self._writing.mine()
        if database is None:
            try:
                database = self._connected()
            except sqlite3.DatabaseError as error:
                if not self._set_aside_if_corrupt(error):
                    raise
                database = self._connected()
            self._writing.open(database)
        return database

    def _connected(self) -> sqlite3.Connection:
        private_file.make(self.path)
        database = sqlite3.connect(self.path, timeout=self._busy_s, check_same_thread=False)
        self._inode = _inode(self.path)
        try:
            _to_wal(database, self._busy_s)
            database.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last answers, never the file
            database.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def _set_aside_if_corrupt(self, error: sqlite3.DatabaseError) -> bool:
        """Rename a damaged file, log that, and return True; raise any other error."""
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise error
        self._writing.close()
        with self._reading.lock:
            self._reading.close()
        if _inode(self.path) != self._inode:
            return True  # another process has done it
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.path.replace(aside)
        log.warning("cache %s was damaged (%s): renamed to %s, a new one is begun", self.path, error, aside.name)
        return True


class _Side:
    """One connection and its lock; a connection must not be used after a fork."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._pid = 0

    def mine(self) -> sqlite3.Connection | None:
        return self._database if self._pid == os.getpid() else None

    def open(self, database: sqlite3.Connection) -> None:
        self._database, self._pid = database, os.getpid()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _to_wal(database: sqlite3.Connection, busy_s: float) -> None:
    """Turn WAL on. SQLite ignores its timeout here, so two processes that make the file at once must retry."""
    until = time.monotonic() + busy_s
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(0.005)


def _count(database: sqlite3.Connection, rows: list[Row]) -> None:
    """Add `rows` to those of the file, which has at most `MOST_ROWS` and one for all others."""
    known = set(database.execute("SELECT model, tenant FROM tally"))
    for row in rows:
        if (row.model, row.tenant) not in known and len(known) >= MOST_ROWS:
            row = row._replace(model=OTHERS, tenant="")
        database.execute(_COUNT, row)
        known.add((row.model, row.tenant))


def _try_to_write(database: sqlite3.Connection, statement: str, *values: object) -> None:
    """Execute `statement`, unless somebody else is writing: a read never waits for a writer."""
    try:
        with database:
            database.execute(statement, values)
    except sqlite3.OperationalError:
        pass  # next time


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
