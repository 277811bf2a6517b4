"""Entries in Redis, shared by machines. The extra `redis` brings the package.

Redis limits and evicts by itself: set `maxmemory` and `maxmemory-policy allkeys-lru`.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import orjson

try:
    import redis
except ImportError as error:
    raise ImportError("Redis(…) needs the package redis: install tailrace[redis]") from error

from tailrace.client.stores.entry import Entry
from tailrace.client.stores.redis_budgets import RedisBudgets
from tailrace.client.stores.tally import MOST_ROWS, OTHERS, Row, Tally

TALLY: Final = "tally"
"""The name, after the prefix, of the hash of hits and misses."""
_MANY: Final = 100  # counts that a process which only reads keeps in memory
_RELEASE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end"


class Redis:
    """Entries under `prefix` in the Redis at `url`; a command that takes longer than `timeout_s` fails.

    Redis expires entries by durations on its own clock, so the clocks of machines need not agree.
    """

    slow_get = True
    slow_put = True
    shared = True

    def __init__(
        self, url: str = "redis://127.0.0.1:6379/0", prefix: str = "tailrace:", timeout_s: float = 0.5
    ) -> None:
        self.tally = Tally()
        self._counted = 0
        self._prefix = prefix
        scheme, netloc, path, _query, _fragment = urlsplit(url)
        self._place = f"{scheme}://{netloc.rpartition('@')[2]}{path}"  # without user and password
        self._owner = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._redis = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)

    def __repr__(self) -> str:
        return f"Redis({self._place!r})"

    def get(self, key: str, now: float) -> Entry | None:
        if len(self.tally) >= _MANY:
            self.tally.flush(self._count)
        packed = self._redis.get(self._prefix + key)
        if not isinstance(packed, bytes):
            return None
        try:
            entry = Entry.unpack(packed)
        except ValueError:
            self._redis.delete(self._prefix + key)
            return None
        return entry if entry.expires_at > now else None

    def put(self, key: str, entry: Entry) -> None:
        left_ms = round((entry.expires_at - time.time()) * 1000)
        if left_ms > 0:
            self._redis.set(self._prefix + key, entry.pack(), px=left_ms)
        self.tally.flush(self._count)

    def lease(self, key: str, now: float, seconds: float) -> bool:
        return bool(self._redis.set(self._lease(key), self._owner, nx=True, px=max(1, round(seconds * 1000))))

    def release(self, key: str) -> None:
        self._redis.eval(_RELEASE, 1, self._lease(key), self._owner)

    def budgets(self) -> RedisBudgets:
        return RedisBudgets(self._redis, self._prefix, repr(self))

    def close(self) -> None:
        with suppress(redis.RedisError):
            self.tally.flush(self._count)
        self._redis.close()

    def _count(self, rows: list[Row]) -> None:
        """Add `rows` to those in the store; once there are `MOST_ROWS`, all are counted as one."""
        with self._redis.pipeline(transaction=False) as pipe:
            for row in rows:
                place = row if self._counted < 2 * MOST_ROWS else row._replace(model=OTHERS, tenant="")
                for word, count in (("hits", row.hits), ("misses", row.misses)):
                    field = orjson.dumps([place.model, place.tenant, word])
                    pipe.hincrby(f"{self._prefix}{TALLY}", field, count)
            pipe.hlen(f"{self._prefix}{TALLY}")
            self._counted = int(pipe.execute()[-1])

    def _lease(self, key: str) -> str:
        return f"{self._prefix}lease:{key}"
