"""Recorded traffic: arrival times and lengths of a production service, scaled in time and rate.

The formats are those of `tailrace.load.traces.formats`, each in CSV, JSONL or parquet. Nothing is guessed: a file of
another format, or a row that does not fit, is refused.
"""

from __future__ import annotations

from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tailrace.errors import LoadError
from tailrace.load.traces.recording import Arrival, Recording, record

_BYTES_PER_S = 1_000_000

__all__ = ["Arrival", "Recording", "Trace", "read", "record"]


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

    @property
    def reading_s(self) -> float:
        """How long a slow machine needs to read the whole file."""
        return self.path.stat().st_size / _BYTES_PER_S if self.path.is_file() else 0.0

    def arrivals(self) -> Recording:
        """Return the requests to send, by their time in played seconds from the start.

        Raises LoadError as `read` does, and when there is nothing to play.
        """
        return self._played

    @cached_property
    def _played(self) -> Recording:
        recording = record(self.path, self.skip_s, self.skip_s + self.duration_s * self.speed)
        if not len(recording):
            raise LoadError(f"trace {self.path} has no requests from {self.skip_s:g} s on; skip less")
        places, offsets_s = _copies(recording.at_s, self.keep)
        at_s = (recording.at_s[places] + offsets_s - self.skip_s) / self.speed
        played = np.flatnonzero(at_s < self.duration_s)
        return recording.take(places[played], at_s[played]).with_prefixes()

    def offsets_ns(self, shard: int = 0, shards: int = 1) -> npt.NDArray[np.int64]:
        return (self.arrivals().at_s[shard::shards] * 1e9).astype(np.int64)

    def describe(self) -> str:
        """Return what was recognised, and the requests to play, in a line.

        "azure.csv: Azure (time stamps), 19,366 requests, mean 1,155 tokens in and 211 out".
        """
        played = self.arrivals()
        mean_in, mean_out = played.mean_tokens
        line = f"{self.path.name}: {played.format.title}, {len(played):,} requests"
        line += f", mean {mean_in:,.0f} tokens in and {mean_out:,.0f} out"
        share = played.prefix_share
        return line if share is None else f"{line}, {share:.1%} of the tokens in sent before"


def read(path: Path) -> list[Arrival]:
    """Return all arrivals of a trace file, from 0 s, in order; raises LoadError as `record` does."""
    return list(record(path))


def _copies(at_s: npt.NDArray[np.float64], times: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the places to send, each `times` times on average, and how long after its time each copy is due.

    Copies are spread evenly over the gap to the next request; below 1, the places that stay are spread evenly.
    """
    place = np.arange(len(at_s), dtype=np.int64)
    copies = np.floor((place + 1) * times).astype(np.int64) - np.floor(place * times).astype(np.int64)
    gaps_s = np.append(np.diff(at_s), 0.0)
    places = np.repeat(place, copies)
    nth = np.arange(len(places)) - np.repeat(np.cumsum(copies) - copies, copies)
    return places, gaps_s[places] * nth / copies[places]
