"""A recorded trace in memory: columns of numbers, 24 bytes a request and 8 a block, however it was written."""

from __future__ import annotations

import contextlib
import math
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import orjson

from tailrace.errors import LoadError
from tailrace.load.tables import Source
from tailrace.load.traces.formats import MOST_TOKENS, Format, recognise

SLACK_S: Final = 3600.0
"""How far a row may be out of order, in recorded time, where only a part of a file is played."""
MOST_BYTES: Final = 1 << 30
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\Z", re.ASCII)
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Arrival(NamedTuple):
    """One request of a trace."""

    at_s: float
    in_tok: int
    out_tok: int
    blocks: tuple[int, ...] = ()
    """Ids of the prompt's blocks; equal ids mean equal text."""
    block_tok: int = 512
    prefix_tok: int = -1
    """Of the prompt, the leading tokens that an earlier request of the played trace sent; -1 when it has no blocks."""


class Blocks(NamedTuple):
    """The block ids of all rows of a file, one after the other."""

    ids: array[int]
    ends: array[int]

    def of(self, row: int) -> tuple[int, ...]:
        if not self.ends:
            return ()
        return tuple(self.ids[self.ends[row - 1] if row else 0 : self.ends[row]])


class Recording(Sequence[Arrival]):
    """The requests of a trace, in order of their times from 0 s."""

    def __init__(self, form: Format, at_s: Floats, columns: Mapping[str, Integers], blocks: Blocks) -> None:
        self.format, self.at_s, self._columns, self._blocks = form, at_s, columns, blocks

    def __len__(self) -> int:
        return len(self.at_s)

    @overload
    def __getitem__(self, at: int) -> Arrival: ...
    @overload
    def __getitem__(self, at: slice) -> list[Arrival]: ...
    def __getitem__(self, at: int | slice) -> Arrival | list[Arrival]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        columns = self._columns
        blocks = self._blocks.of(int(columns["row"][at]))
        prefix = int(columns["prefix"][at]) if "prefix" in columns else -1
        in_tok, out_tok = int(columns["in_tok"][at]), int(columns["out_tok"][at])
        return Arrival(float(self.at_s[at]), in_tok, out_tok, blocks, self.format.block_tok or 512, prefix)

    @property
    def mean_tokens(self) -> tuple[float, float]:
        """The mean length of prompts and answers."""
        return float(self._columns["in_tok"].mean()), float(self._columns["out_tok"].mean())

    @property
    def prefix_share(self) -> float | None:
        """The share of the tokens in that earlier requests sent; None where the trace has no blocks."""
        if "prefix" not in self._columns:
            return None
        known = self._columns["prefix"] >= 0
        total = int(self._columns["in_tok"][known].sum())
        return int(self._columns["prefix"][known].sum()) / total if total else None

    @property
    def chats(self) -> list[int]:
        """The number of the conversation of each request: that of its first turn. Empty for formats without."""
        if not self.format.chat:
            return []
        first: dict[int, int] = {}
        for chat, parent in zip(self._columns["chat"].tolist(), self._columns["parent"].tolist(), strict=True):
            first[chat] = first.get(parent, chat)
        return [first[chat] for chat in self._columns["chat"].tolist()]

    def take(self, places: Integers, at_s: Floats) -> Recording:
        """Return the requests at these places, at new times, in the order of those."""
        order = np.argsort(at_s, kind="stable")
        columns = {name: column[places[order]] for name, column in self._columns.items()}
        return Recording(self.format, at_s[order], columns, self._blocks)

    def with_prefixes(self) -> Recording:
        """Return the same requests, with the part of each prompt that an earlier one sent."""
        if not self.format.block_tok:
            return self
        prefix = np.fromiter(self._prefixes(), np.int64, len(self))
        return Recording(self.format, self.at_s, {**self._columns, "prefix": prefix}, self._blocks)

    def _prefixes(self) -> Iterator[int]:
        sent: dict[int, int] = {}  # the most tokens of each block that were sent
        whole = self.format.block_tok
        for arrival in self:
            if not arrival.blocks:
                yield -1
                continue
            *full, last = arrival.blocks
            rest = max(0, arrival.in_tok - whole * len(full))
            prefix = 0
            for block in full:
                prefix += (known := sent.get(block, 0))
                if known < whole:
                    break
            else:
                prefix += min(rest, sent.get(last, 0))
            yield min(prefix, arrival.in_tok)
            sent.update(dict.fromkeys(full, whole))
            sent[last] = max(sent.get(last, 0), min(rest, whole))


class _Columns:
    """Rows as they come."""

    def __init__(self) -> None:
        self.at_s = array("d")
        self.numbers = {name: array("q") for name in ("in_tok", "out_tok", "chat", "parent")}
        self.blocks = Blocks(array("q"), array("q"))
        self._chats: dict[str, int] = {}

    def chat(self, value: str) -> int:
        """Return the number that stands for a conversation."""
        return self._chats.setdefault(value, len(self._chats))

    @property
    def size(self) -> int:
        columns: list[array[Any]] = [self.at_s, *self.numbers.values(), self.blocks.ids, self.blocks.ends]
        return sum(len(column) * column.itemsize for column in columns) + 100 * len(self._chats)


def record(path: Path, skip_s: float = 0.0, until_s: float = math.inf) -> Recording:
    """Return the requests of a trace file between two times from its first request, which is at 0 s.

    Raises LoadError, with the line, what it holds and what was expected, when the file has no rows, is of no known
    format, or holds a row that is broken; and when it would need more than 1 GiB of memory.
    """
    source, form, columns = Source("trace", path), None, _Columns()
    begin = first = math.inf
    for line, value in source.rows():
        if not isinstance(value, dict):
            source.refuse(line, f"a {type(value).__name__}", "an object with the columns of a trace")
        form = form or _format(source, line, value)
        at = _time(source, line, form, value)
        first = min(first, at)
        begin = at if math.isinf(begin) else begin
        if math.isfinite(until_s) and first < begin - SLACK_S:
            source.refuse(
                line, f"a time {begin - at:g} s before the first row", "rows in order, within an hour; sort the file"
            )
        if at - begin > until_s + SLACK_S:
            break
        if not skip_s or at - begin >= skip_s - SLACK_S:
            _add(source, line, form, value, at, columns)
            if not len(columns.at_s) % 4096 and columns.size > MOST_BYTES:
                source.refuse(line, "more requests than 1 GiB of memory holds", "less; play a part: skip_s, duration_s")
    if form is None:
        raise LoadError(f"trace {path} has no rows")
    return _recording(form, columns, first, skip_s, until_s)


def _recording(form: Format, columns: _Columns, first: float, skip_s: float, until_s: float) -> Recording:
    at_s = np.frombuffer(columns.at_s, np.float64) - first if columns.at_s else np.empty(0)
    names = ("in_tok", "out_tok", *(("chat", "parent") if form.chat else ()))
    found = {name: np.array(columns.numbers[name], np.int64) for name in names}
    whole = Recording(form, at_s, {**found, "row": np.arange(len(at_s))}, columns.blocks)
    inside = np.flatnonzero((at_s >= skip_s) & (at_s < until_s))
    return whole.take(inside, at_s[inside])


def _format(source: Source, line: int, value: Mapping[str, Any]) -> Format:
    try:
        return recognise(value)
    except ValueError as error:
        source.refuse(line, f"columns {', '.join(map(str, value)) or 'without a name'}", str(error))


def _time(source: Source, line: int, form: Format, value: Mapping[str, Any]) -> float:
    stated = _cell(source, line, form, form.at, value)
    try:
        return form.seconds(stated)
    except ValueError as error:
        source.refuse(line, f"{form.at} {stated!r}", str(error))


def _add(source: Source, line: int, form: Format, value: Mapping[str, Any], at: float, columns: _Columns) -> None:
    columns.at_s.append(at)
    for name, column in (("in_tok", form.in_tok), ("out_tok", form.out_tok)):
        stated = _cell(source, line, form, column, value)
        number = isinstance(stated, int | float) and not isinstance(stated, bool)
        if not number or not 0 <= stated <= MOST_TOKENS or stated != int(stated):
            source.refuse(line, f"{column} {stated!r}", f"a whole number of tokens, 0 to {MOST_TOKENS:,}")
        columns.numbers[name].append(int(stated))
    if form.chat:
        chat, parent = _cell(source, line, form, form.chat, value), value.get(form.parent, -1)
        if not isinstance(chat, int | str) or not isinstance(parent, int | str):
            source.refuse(line, f"{form.chat} {chat!r}, {form.parent} {parent!r}", "numbers or names")
        columns.numbers["chat"].append(columns.chat(str(chat)))
        columns.numbers["parent"].append(columns.chat(str(parent)))
    if form.block_tok:
        columns.blocks.ids.extend(_block_ids(source, line, value.get("hash_ids")))
        columns.blocks.ends.append(len(columns.blocks.ids))


def _cell(source: Source, line: int, form: Format, column: str, value: Mapping[str, Any]) -> Any:
    """Return a value of a row; the numbers of a CSV file are text that looks like one."""
    if column not in value:
        source.refuse(line, f"no {column}", f"{', '.join(form.columns)}, as in the rows before ({form.title})")
    stated = value[column]
    if not source.untyped:
        return stated
    if stated.isascii() and stated.isdigit():
        return int(stated)
    return float(stated) if _NUMBER.match(stated) else stated


def _block_ids(source: Source, line: int, stated: Any) -> list[int]:
    if source.untyped and stated:
        with contextlib.suppress(orjson.JSONDecodeError):
            stated = orjson.loads(stated)
    if stated is None or stated == "":
        return []
    if not isinstance(stated, list) or any(type(one) is not int or not 0 <= one < 1 << 63 for one in stated):
        source.refuse(line, f"hash_ids {str(stated)[:60]}", "a list of whole numbers, each of at least 0")
    return stated
