"""The contents of a SQLite store, for its operator. What is deleted is overwritten, in the log beside the file, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tailrace.client.stores.contents import Head, head
from tailrace.client.stores.tally import Row

_TABLES = frozenset({"entries", "tally"})


class SqliteContents:
    """The file at `path`, which must exist; raises sqlite3.DatabaseError when it is damaged or no store."""

    def __init__(self, path: str | Path, busy_s: float = 10.0) -> None:
        self.path = Path(path)
        uri = f"{self.path.absolute().as_uri()}?mode=rw"
        self._database = sqlite3.connect(uri, timeout=busy_s, uri=True)
        self._database.execute("PRAGMA secure_delete = ON")
        names = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "entries" not in names:
            raise sqlite3.DatabaseError("it has no table of entries")
        self._has_tally = names >= _TABLES

    def heads(self) -> Iterator[Head]:
        for key, value, size in self._database.execute("SELECT key, value, size FROM entries"):
            yield head(key, size, bytes(value).partition(b"\n")[0])

    def remove(self, keys: list[str]) -> int:
        with self._database as database:
            return sum(database.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount for key in keys)

    def counts(self) -> list[Row]:
        return [Row(*row) for row in self._database.execute("SELECT * FROM tally")] if self._has_tally else []

    def close(self) -> None:
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the log beside the file holds what was deleted
        self._database.close()
