"""Recorded traffic: arrival times and lengths of a production service, scaled in time and rate.

Two formats, by the suffix of the file:

    .csv     Azure LLM inference   TIMESTAMP,ContextTokens,GeneratedTokens   (Patel et al., ISCA 2024)
    .jsonl   Mooncake              timestamp (ms), input_length, output_length, hash_ids   (Qin et al., FAST 2025)
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tailrace.errors import LoadError


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


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Trace:
    """A recorded hour, or a part of it.

    `speed` 60 plays an hour in a minute (and so multiplies the rate by 60); `keep` 0.1 sends every tenth
    request, and `keep` 3 sends each one three times, spread over the gap to the next.
    """

    path: Path
    speed: Annotated[float, Field(gt=0)] = 1.0
    keep: Annotated[float, Field(gt=0, le=1000)] = 1.0
    skip_s: Annotated[float, Field(ge=0)] = 0.0
    """Of the recorded time."""
    duration_s: Annotated[float, Field(gt=0)] = 3600.0
    """Of the played time."""
    kind: Literal["trace"] = field(default="trace", kw_only=True)

    @property
    def name(self) -> str:
        return f"trace {self.path.name}"

    def arrivals(self) -> list[Arrival]:
        """Return the requests to send, by their time in played seconds from the start."""
        end_s = self.skip_s + self.duration_s * self.speed
        window = [row for row in read(self.path) if self.skip_s <= row.at_s < end_s]
        chosen = _thinned(window, self.keep) if self.keep <= 1 else _thickened(window, self.keep)
        played = (row._replace(at_s=(row.at_s - self.skip_s) / self.speed) for row in chosen)
        return sorted((row for row in played if row.at_s < self.duration_s), key=lambda row: row.at_s)

    def offsets_ns(self, shard: int = 0, shards: int = 1) -> npt.NDArray[np.int64]:
        seconds = np.array([row.at_s for row in self.arrivals()][shard::shards], dtype=np.float64)
        return (seconds * 1e9).astype(np.int64)


def read(path: Path) -> list[Arrival]:
    """Return all arrivals of a trace file, from 0 s, in order.

    Raises LoadError when the file is missing, has no rows or is of neither format.
    """
    if not path.exists():
        raise LoadError(f"trace {path} does not exist; give the path of an Azure CSV or a Mooncake JSONL file")
    try:
        rows = list(_mooncake(path) if path.suffix == ".jsonl" else _azure(path))
    except (KeyError, ValueError) as error:
        raise LoadError(f"trace {path} is neither Azure CSV nor Mooncake JSONL: {error!r}") from error
    if not rows:
        raise LoadError(f"trace {path} has no rows")
    first = min(row.at_s for row in rows)
    return sorted((row._replace(at_s=row.at_s - first) for row in rows), key=lambda row: row.at_s)


def _azure(path: Path) -> Iterator[Arrival]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            stamp, _, digits = row["TIMESTAMP"].partition(".")
            at = dt.datetime.fromisoformat(stamp).replace(tzinfo=dt.UTC).timestamp() + float(f"0.{digits or 0}")
            yield Arrival(at, int(row["ContextTokens"]), int(row["GeneratedTokens"]))


def _mooncake(path: Path) -> Iterator[Arrival]:
    with path.open("rb") as file:
        for line in file:
            row = orjson.loads(line)
            yield Arrival(row["timestamp"] / 1e3, row["input_length"], row["output_length"], tuple(row["hash_ids"]))


def _thinned(rows: list[Arrival], keep: float) -> list[Arrival]:
    """Return the share `keep` of the rows, evenly spread."""
    return [row for i, row in enumerate(rows) if int((i + 1) * keep) > int(i * keep)]


def _thickened(rows: list[Arrival], times: float) -> list[Arrival]:
    """Return each row `times` times on average, its copies spread evenly over the gap to the next row."""
    chosen: list[Arrival] = []
    for i, row in enumerate(rows):
        copies = int((i + 1) * times) - int(i * times)
        gap = (rows[i + 1].at_s - row.at_s) if i + 1 < len(rows) else 0.0
        chosen.extend(row._replace(at_s=row.at_s + gap * copy / copies) for copy in range(copies))
    return chosen
