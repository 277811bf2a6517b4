"""Entries in the memory of this process; the least recently used are dropped first."""

from __future__ import annotations

import threading
from collections import OrderedDict

from tailrace.client.stores.budgets import MemoryBudgets
from tailrace.client.stores.entry import Entry


class Memory:
    """An LRU cache of at most `max_bytes`, keys and overhead included; a larger entry is not stored."""

    slow_get = False
    slow_put = False
    shared = False

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        if max_bytes <= 0:
            raise ValueError(f"Memory(max_bytes={max_bytes}): expected more than 0")
        self.max_bytes = max_bytes
        self.size_bytes = 0
        self._entries: OrderedDict[str, tuple[Entry, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._budgets = MemoryBudgets()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, now: float) -> Entry | None:
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            if found[0].expires_at <= now:
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: str, entry: Entry) -> None:
        size = entry.size_bytes + len(key) + 150
        with self._lock:
            if key in self._entries:
                self._drop(key)
            if size > self.max_bytes:
                return
            self._entries[key] = (entry, size)
            self.size_bytes += size
            while self.size_bytes > self.max_bytes:
                self._drop(next(iter(self._entries)))

    def lease(self, key: str, now: float, seconds: float) -> bool:
        return True

    def release(self, key: str) -> None:
        pass

    def budgets(self) -> MemoryBudgets:
        return self._budgets

    def close(self) -> None:
        with self._lock:
            self._entries.clear()
            self.size_bytes = 0

    def _drop(self, key: str) -> None:
        self.size_bytes -= self._entries.pop(key)[1]
