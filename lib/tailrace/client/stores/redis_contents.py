"""The contents of a Redis store, for its operator. It is scanned in steps, so that other callers go on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import orjson
import redis

from tailrace.client.stores.contents import Head, head
from tailrace.client.stores.redis import TALLY
from tailrace.client.stores.tally import Row

_KEY: Final = re.compile(r"[0-9a-f]{64}")
_FIRST_BYTES: Final = 16 << 10
_STEP: Final = 200


class RedisContents:
    """The entries under `prefix` in the Redis at `url`; a command that takes longer than `timeout_s` fails."""

    def __init__(self, url: str, prefix: str = "tailrace:", timeout_s: float = 10.0) -> None:
        self._prefix = prefix
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
        self._redis.ping()

    def heads(self) -> Iterator[Head]:
        names = self._redis.scan_iter(match=re.sub(r"([*?\\[\]])", r"\\\1", self._prefix) + "*", count=_STEP)
        while some := list(islice(names, _STEP)):
            keys = [key for name in some if _KEY.fullmatch(key := name.decode("utf-8", "replace")[len(self._prefix) :])]
            with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.strlen(self._prefix + key)
                    pipe.getrange(self._prefix + key, 0, _FIRST_BYTES - 1)
                answers = pipe.execute()
            for key, size, first in zip(keys, answers[::2], answers[1::2], strict=True):
                if size:  # it may have expired meanwhile
                    yield head(key, size, self._line(key, size, first))

    def remove(self, keys: list[str]) -> int:
        return int(self._redis.delete(*(self._prefix + key for key in keys)))

    def counts(self) -> list[Row]:
        rows: dict[tuple[str, str], Row] = {}
        for field, count in self._redis.hgetall(f"{self._prefix}{TALLY}").items():
            model, tenant, word = orjson.loads(field)
            row = rows.get((model, tenant), Row(model, tenant, 0, 0))
            rows[model, tenant] = row._replace(hits=int(count)) if word == "hits" else row._replace(misses=int(count))
        return list(rows.values())

    def close(self) -> None:
        self._redis.close()

    def _line(self, key: str, size: int, first: bytes) -> bytes:
        """Return the first line of an entry, of which the `first` bytes are known."""
        if b"\n" not in first and size > len(first):
            first = self._redis.get(self._prefix + key) or b""
        return first.partition(b"\n")[0]
