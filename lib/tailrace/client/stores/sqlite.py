"""Entries in one SQLite file, shared by threads and processes, and still there after `kill -9`.

WAL lets readers go on while one writes. A file that is damaged is set aside as `<name>.corrupt-<time>` and a new
one is begun: a cache may be lost, a call may not.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from tailrace.client.stores.entry import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, size INTEGER NOT NULL, expires_at REAL NOT NULL, used_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_used ON entries (used_at);
CREATE TABLE IF NOT EXISTS leases (key TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS total (only INTEGER PRIMARY KEY CHECK (only = 1), bytes INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (1, 0);
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON entries BEGIN UPDATE total SET bytes = bytes + new.size; END;
CREATE TRIGGER IF NOT EXISTS gone AFTER DELETE ON entries BEGIN UPDATE total SET bytes = bytes - old.size; END;
"""
_TOUCH_S = 60.0  # an entry's last use is written down at most this often: a hit is then a read and nothing else

log = logging.getLogger(__name__)


class Sqlite:
    """Entries in the file `path`, least recently used going first beyond `max_bytes` of values."""

    slow_get = False
    slow_put = True

    def __init__(self, path: str | os.PathLike[str], max_bytes: int = 256 << 20, busy_s: float = 2.0) -> None:
        if max_bytes <= 0:
            raise ValueError(f"Sqlite(max_bytes={max_bytes}): expected more than 0")
        self.path = Path(path)
        self.max_bytes = max_bytes
        self._busy_s = busy_s
        self._lock = threading.Lock()
        self._owner = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._database: sqlite3.Connection | None = None
        self._pid = 0
        self._inode = 0

    def get(self, key: str, now: float) -> Entry | None:
        with self._lock:
            try:
                return self._get(key, now)
            except sqlite3.DatabaseError as error:
                self._set_aside_if_corrupt(error)
                return None

    def put(self, key: str, entry: Entry) -> None:
        packed = entry.pack()
        if len(packed) > self.max_bytes:
            return
        with self._lock:
            try:
                self._put(key, packed, entry.expires_at)
            except sqlite3.DatabaseError as error:
                if self._set_aside_if_corrupt(error):
                    self._put(key, packed, entry.expires_at)

    def lease(self, key: str, now: float, seconds: float) -> bool:
        take = """INSERT INTO leases VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE
            SET owner = excluded.owner, expires_at = excluded.expires_at
            WHERE expires_at <= ? OR expires_at > ?"""  # the second: the clock went back since it was taken
        with self._lock, self._open() as database:
            taken = database.execute(take, (key, self._owner, now + seconds, now, now + 10 * seconds))
            return taken.rowcount == 1

    def release(self, key: str) -> None:
        with self._lock, self._open() as database:
            database.execute("DELETE FROM leases WHERE key = ? AND owner = ?", (key, self._owner))

    def close(self) -> None:
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _get(self, key: str, now: float) -> Entry | None:
        database = self._open()
        row = database.execute("SELECT value, expires_at, used_at FROM entries WHERE key = ?", (key,)).fetchone()
        if row is None or row[1] <= now:
            return None
        try:
            entry = Entry.unpack(row[0])
        except ValueError:
            log.warning("cache %s: an entry is damaged and was dropped", self.path)
            with database:
                database.execute("DELETE FROM entries WHERE key = ?", (key,))
            return None
        if abs(now - row[2]) > _TOUCH_S:
            self._touch(database, key, now)
        return entry

    def _touch(self, database: sqlite3.Connection, key: str, now: float) -> None:
        """Write down that an entry was used, unless somebody else is writing: a read never waits for a writer."""
        database.execute("PRAGMA busy_timeout = 0")
        try:
            with database:
                database.execute("UPDATE entries SET used_at = ? WHERE key = ?", (now, key))
        except sqlite3.OperationalError:
            pass  # next time
        finally:
            database.execute(f"PRAGMA busy_timeout = {round(self._busy_s * 1000)}")

    def _put(self, key: str, packed: bytes, expires_at: float) -> None:
        now = time.time()
        with self._open() as database:
            database.execute("DELETE FROM entries WHERE key = ?", (key,))
            database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", (key, packed, len(packed), expires_at, now))
            self._make_room(database, now)

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
        """Return the connection of this process: one must not cross a fork."""
        if self._database is None or self._pid != os.getpid():
            try:
                self._database = self._connected()
            except sqlite3.DatabaseError as error:
                if not self._set_aside_if_corrupt(error):
                    raise
                self._database = self._connected()
            self._pid = os.getpid()
        return self._database

    def _connected(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=self._busy_s, check_same_thread=False)
        self._inode = _inode(self.path)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last answers, never the file
            database.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database

    def _set_aside_if_corrupt(self, error: sqlite3.DatabaseError) -> bool:
        """Move a damaged file away, say so, and return True; any other error goes to the caller."""
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise error
        if self._database is not None:
            self._database.close()
            self._database = None
        if _inode(self.path) != self._inode:
            return True  # another process was faster
        aside = self.path.with_name(f"{self.path.name}.corrupt-{time.time_ns()}")
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.path.replace(aside)
        log.warning("cache %s was damaged (%s): set aside as %s, begun anew", self.path, error, aside.name)
        return True


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0
