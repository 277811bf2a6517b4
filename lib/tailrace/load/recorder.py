"""Writes records to parquet: packed rows in memory, and a part every few seconds, written by a thread.

A part is written under another name and renamed when it is complete, so that readable parts remain however the
generator ends. Memory is bounded by the rows of a part. Strings are numbered, and are a dictionary on disk; times are
delta-coded: about ten bytes a row. The gaps between tokens are kept beside them, as histograms (`tailrace.load.gaps`).
"""

from __future__ import annotations

import contextlib
import os
import queue
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, get_type_hints

import numpy as np
import pyarrow as pa

from tailrace.host import files
from tailrace.load import columns, gaps
from tailrace.records import ERROR, Record

ROWS_PER_PART: Final = 40_000
SECONDS_PER_PART: Final = 5.0

_SMALL: Final = frozenset({
    "shard", "generation", "status", "attempts", "chunks", "in_tok", "out_tok", "cached_tok", "ttfb_us", "ttfa_us",
    "last_token_us", "reasoning_tok", "planned_in_tok", "planned_out_tok", "prefix_tok", "session", "turn",
})  # fmt: skip
"""Columns of 32 bits: counts, and times up to 35 minutes."""
TYPES: Final[dict[str, str]] = {
    name: {str: "u2", bool: "?"}.get(kind, "i4" if name in _SMALL else "i8")
    for name, kind in get_type_hints(Record).items()
}
"""How each column is packed; "u2" is the number of a string."""
STRINGS: Final = tuple(name for name, kind in TYPES.items() if kind == "u2")
_ROW: Final = np.dtype([(name, f"<{kind}") for name, kind in TYPES.items()])
_LETTERS: Final = "".join({"u2": "H", "?": "?", "i4": "i", "i8": "q"}[kind] for kind in TYPES.values())
_PACK: Final = struct.Struct(f"<{_LETTERS}")
MOST_LABELS: Final = 1_000
"""The most different strings that the records of one shard hold."""
_DELTA: Final = ("seq", "intended_ns", "send_lag_us", "service_us", "ttfc_us", "ttfb_us", "ttfa_us", "last_token_us")
_MOST: Final = {"i": 2**31 - 1, "q": 2**63 - 1}


class _Part(NamedTuple):
    """Packed rows on their way to disk."""

    number: int
    rows: bytes
    strings: list[str]
    gaps: gaps.TakenGaps


class Recorder:
    """Writes the records of one shard to `<prefix>-<n>.parquet` in `folder`; `close` writes the last part.

    The gaps of part n go to `itl-…-<n>.parquet`, before the part itself: a part that is there has its gaps.
    """

    def __init__(self, folder: Path, prefix: str, part_s: float = SECONDS_PER_PART) -> None:
        self._folder, self._prefix, self._part_s = folder, prefix, part_s
        self._codes: dict[str, int] = {}
        self._rows, self._gaps = bytearray(), gaps.GapKeeper()
        self._since, self._count = time.monotonic(), 0
        self._parts: queue.SimpleQueue[_Part | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        files.make_folder(folder)
        self._thread = threading.Thread(target=self._write_parts, name="recorder", daemon=True)
        self._thread.start()

    def add(self, record: Record, gaps_us: Sequence[int] = ()) -> None:
        """Keep a record; `gaps_us` between its tokens count when it succeeded."""
        # All strings are among the first columns; by name, and not in a loop, this takes a third less time.
        run_id, shard, seq, step, phase, colour, release, generation, model, stream, outcome, error = record[:12]
        code = self._codes.get
        try:
            self._rows += _PACK.pack(
                code(run_id), shard, seq, code(step), code(phase), code(colour), code(release), generation,
                code(model), stream, code(outcome), code(error), *record[12:],
            )  # fmt: skip
        except struct.error:  # a new string; or a peer's number that no column holds, which must not end the load run
            self._rows += _PACK.pack(*map(self._packed, record, _LETTERS))
        if gaps_us and outcome != ERROR:
            labels = tuple(map(self._number, (step, phase, colour, release, model)))
            self._gaps.add(labels, record.intended_ns, gaps_us)
        if len(self._rows) >= ROWS_PER_PART * _PACK.size or len(self._gaps) >= gaps.GAPS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Hand the rows so far to the writer; called when a part is full, and by `tick`."""
        if self._rows:
            self._parts.put(_Part(self._count, bytes(self._rows), list(self._codes), self._gaps.take()))
            self._count += 1
            self._rows = bytearray()
        self._since = time.monotonic()

    def tick(self) -> None:
        """Flush when the last part is old enough; call it now and then."""
        if time.monotonic() - self._since >= self._part_s:
            self.flush()

    def close(self) -> None:
        """Write the rest; raise the first error of the writer."""
        self.flush()
        waiting = []
        with contextlib.suppress(queue.Empty):
            while (part := self._parts.get_nowait()) is not None:
                waiting.append(part)
        self._parts.put(None)
        for part in waiting:  # here, because the thread has a low priority
            self._write(part)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _packed(self, value: Any, letter: str) -> Any:
        if letter == "H":
            return self._number(value)
        return value if letter == "?" else max(-_MOST[letter], min(value, _MOST[letter]))

    def _number(self, text: str) -> int:
        """Return the number of a string. Beyond MOST_LABELS (from a server that invents them) new ones share one."""
        if text in self._codes:
            return self._codes[text]
        if len(self._codes) >= MOST_LABELS:
            return self._codes.setdefault("(too many)", len(self._codes))
        return self._codes.setdefault(text, len(self._codes))

    def _write_parts(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            # On Linux niceness belongs to the thread: compressing must not delay the schedule.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while (part := self._parts.get()) is not None:
            self._write(part)

    def _write(self, part: _Part) -> None:
        try:
            name = f"{self._prefix}-{part.number:05d}.parquet"
            if part.gaps.requests:
                gaps.write(part.gaps, part.strings, self._folder / f"itl-{name.removeprefix('part-')}")
            write(part.rows, part.strings, self._folder / name)
        except Exception as error:
            self._failure = self._failure or error


def write(rows: bytes, strings: list[str], path: Path) -> None:
    """Write packed rows as one parquet file, in the order of their intended times."""
    packed = np.frombuffer(rows, dtype=_ROW)
    order = np.argsort(packed["intended_ns"], kind="stable")
    dictionary = columns.texts(strings)
    arrays = [
        columns.column(kind, np.ascontiguousarray(packed[name])[order], dictionary) for name, kind in TYPES.items()
    ]
    columns.write(pa.Table.from_arrays(arrays, names=list(TYPES)), path, _DELTA)
