"""What a shared store holds, for its operator: how much, of whom, how often it helped, and deleting a part of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from tailrace.client.stores.entry import read_fields, tenant_digest
from tailrace.client.stores.tally import Row

_BATCH = 200


class Head(NamedTuple):
    """An entry without its answer. Models and tenant are "" where an entry does not tell."""

    key: str
    size_bytes: int
    model: str = ""
    asked_model: str = ""
    tenant: str = ""
    stored_at: float = 0.0
    expires_at: float = 0.0


class Contents(Protocol):
    """A store as its operator reads it."""

    def heads(self) -> Iterator[Head]:
        """Yield every entry."""
        ...

    def remove(self, keys: list[str]) -> int:
        """Delete these entries, and return how many there were."""
        ...

    def counts(self) -> list[Row]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Selection:
    """Which entries: all that fit whatever is given. A model fits by the name that was asked for or that answered."""

    model: str = ""
    tenant: str = ""
    """The name of a tenant, or its digest as it is shown."""
    stored_before: float | None = None

    def fits(self, head: Head) -> bool:
        """Whether it names the entry."""
        if self.model and self.model not in (head.model, head.asked_model):
            return False
        if self.tenant and head.tenant not in (self.tenant, tenant_digest(self.tenant)):
            return False
        return self.stored_before is None or head.stored_at < self.stored_before


class Line(NamedTuple):
    """What a store holds for one model and tenant, and the calls for it."""

    model: str
    tenant: str
    entries: int = 0
    expired: int = 0
    size_bytes: int = 0
    hits: int = 0
    misses: int = 0

    @property
    def hit_rate(self) -> float | None:
        """The share of calls that needed no request; None without a call."""
        calls = self.hits + self.misses
        return self.hits / calls if calls else None


def summary(contents: Contents, now: float) -> list[Line]:
    """Return a line per model and tenant, the largest first."""
    lines: dict[tuple[str, str], Line] = {}
    for head in contents.heads():
        place = (head.asked_model or head.model, head.tenant)
        line = lines.get(place, Line(*place))
        lines[place] = line._replace(
            entries=line.entries + 1, expired=line.expired + (head.expires_at <= now),
            size_bytes=line.size_bytes + head.size_bytes,
        )  # fmt: skip
    for row in contents.counts():
        place = (row.model, row.tenant)
        lines[place] = lines.get(place, Line(*place))._replace(hits=row.hits, misses=row.misses)
    return sorted(
        lines.values(), key=lambda line: (-line.size_bytes, -line.hits - line.misses, line.model, line.tenant)
    )


def total(lines: Iterable[Line]) -> Line:
    """Return the sum of `lines`."""
    numbers = [line[2:] for line in lines]
    return Line("all", "", *map(sum, zip(*numbers, strict=True))) if numbers else Line("all", "")


def purge(contents: Contents, selection: Selection) -> tuple[int, int]:
    """Delete the entries that `selection` names; return how many, and their bytes.

    An answer that is on its way meanwhile may be stored after it.
    """
    removed, size_bytes = 0, 0
    chosen = [(head.key, head.size_bytes) for head in contents.heads() if selection.fits(head)]
    for start in range(0, len(chosen), _BATCH):
        batch = chosen[start : start + _BATCH]
        removed += contents.remove([key for key, _ in batch])
        size_bytes += sum(size for _, size in batch)
    return removed, size_bytes


def head(key: str, size_bytes: int, line: bytes) -> Head:
    """Return the head of an entry from its first line; of a damaged entry only its size."""
    try:
        fields = read_fields(line)
        return Head(
            key, size_bytes, str(fields.get("model", "")), str(fields.get("asked_model", "")),
            str(fields.get("tenant", "")), float(fields["stored_at"]), float(fields["expires_at"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError):
        return Head(key, size_bytes)
