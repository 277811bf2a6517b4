"""A stored answer, and the protocol of a store."""

from __future__ import annotations

import hashlib
from itertools import accumulate
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

import orjson

from tailrace.client.wire import Headers, Replay

_FORMAT = 1


class Entry(NamedTuple):
    """A complete answer: its chunks as they came, or one chunk for a whole body. Times are wall-clock seconds."""

    status: int
    headers: Headers
    chunks: tuple[bytes, ...]
    streamed: bool
    stored_at: float
    expires_at: float  # a store may drop it after this
    model: str
    in_tok: int
    out_tok: int
    cached_tok: int
    reasoning_tok: int
    cost_usd: float | None  # what the answer cost; a hit saves as much
    asked_model: str = ""  # the model of the request; `model` is the one that answered
    tenant: str = ""  # a digest, see `tenant_digest`

    @property
    def body(self) -> bytes:
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    @property
    def answer(self) -> bytes | Replay:
        """The body as it came: bytes, or a stream of its chunks."""
        return Replay(self.chunks) if self.streamed else self.body

    @property
    def size_bytes(self) -> int:
        """The memory it takes, roughly: the chunks and Python's objects around them."""
        return sum(map(len, self.chunks)) + 33 * len(self.chunks) + 120 * len(self.headers) + 600

    def pack(self) -> bytes:
        """Return the entry as bytes: one JSON line, then the chunks. Never pickle: others may write to a store."""
        fields: dict[str, Any] = self._asdict() | {"format": _FORMAT, "chunks": [len(chunk) for chunk in self.chunks]}
        return b"\n".join((orjson.dumps(fields), b"".join(self.chunks)))

    @classmethod
    def unpack(cls, packed: bytes) -> Entry:
        """Return the packed entry. Raise ValueError when it is damaged or of another format."""
        line, newline, rest = packed.partition(b"\n")
        fields = read_fields(line) if newline else {}
        if fields.pop("format", None) != _FORMAT:
            raise ValueError("not an entry of this format")
        try:
            headers = tuple((str(name), str(value)) for name, value in fields.pop("headers"))
            entry = cls(chunks=_cut(rest, fields.pop("chunks")), headers=headers, **fields)
        except (KeyError, TypeError) as error:
            raise ValueError("an entry with other fields") from error
        if not all(map(isinstance, entry, _KINDS)):  # others may write to a store
            raise ValueError("an entry with fields of another type")
        return entry


_KINDS: Final = (
    int, tuple, tuple, bool, int | float, int | float, str, int, int, int, int, int | float | None, str, str,
)  # fmt: skip


def read_fields(line: bytes) -> dict[str, Any]:
    """Return the fields in the first line of a packed entry. Raise ValueError when it is damaged."""
    fields = orjson.loads(line)
    return fields if isinstance(fields, dict) else {}


def tenant_digest(tenant: str) -> str:
    """Return the digest by which a store names a tenant; "" for none."""
    if not tenant:
        return ""
    return f"sha256:{hashlib.sha256(tenant.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def _cut(packed: bytes, lengths: list[int]) -> tuple[bytes, ...]:
    ends = list(accumulate(lengths))
    if min(lengths, default=0) < 0 or (ends[-1] if ends else 0) != len(packed):
        raise ValueError(f"an entry of {len(packed)} bytes in pieces of {lengths}")
    return tuple(packed[end - length : end] for length, end in zip(lengths, ends, strict=True))


@runtime_checkable
class Store(Protocol):
    """Entries by key. Safe for threads. Any method may raise; the client then goes on without the store.

    `slow_get` and `slow_put` say that a call may block an event loop for too long; `shared`, that other processes have
    the same entries: then the process that holds the lease of a key fetches the answer for all.
    """

    slow_get: bool
    slow_put: bool
    shared: bool

    def get(self, key: str, now: float) -> Entry | None: ...

    def put(self, key: str, entry: Entry) -> None: ...

    def lease(self, key: str, now: float, seconds: float) -> bool:
        """Take the lease of `key` among the processes that share the store. Return True when taken, or not shared."""
        ...

    def release(self, key: str) -> None: ...

    def close(self) -> None: ...
