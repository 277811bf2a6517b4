"""Groups of rows by the values of some columns, fast enough for fifty million rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True)
class Groups:
    """`keys` has a row per group, sorted; `order` lists the rows of group 0, then those of group 1, and so on."""

    keys: pd.DataFrame
    order: npt.NDArray[np.intp]
    bounds: npt.NDArray[np.intp]

    def slices(self) -> Iterator[slice]:
        """Yield the slice of each group in an array that is sorted by `order`."""
        for start, stop in zip(self.bounds[:-1].tolist(), self.bounds[1:].tolist(), strict=True):
            yield slice(start, stop)


def group(rows: pd.DataFrame, by: Sequence[str]) -> Groups:
    """Return the groups of `rows` by the columns `by`; without `by` there is one group, which may be empty."""
    if not by:
        return Groups(pd.DataFrame(index=range(1)), np.arange(len(rows)), np.array([0, len(rows)]))
    codes, keys = _codes(rows, list(by))
    counts = np.bincount(codes, minlength=len(keys))
    narrow = codes.astype(np.uint16) if len(keys) < 65_536 else codes  # 16 bits: NumPy sorts them by radix
    return Groups(keys, np.argsort(narrow, kind="stable"), np.concatenate(([0], np.cumsum(counts))))


def _codes(rows: pd.DataFrame, by: list[str]) -> tuple[npt.NDArray[np.intp], pd.DataFrame]:
    combined = np.zeros(len(rows), dtype=np.int64)
    values = []
    for name in by:
        code, unique = pd.factorize(rows[name], sort=True)
        combined = combined * max(1, len(unique)) + code
        values.append(unique)
    present, codes = _compacted(combined, int(np.prod([max(1, len(unique)) for unique in values])))
    columns = {}
    for name, unique in zip(reversed(by), reversed(values), strict=True):
        present, position = np.divmod(present, max(1, len(unique)))
        columns[name] = unique[position] if len(unique) else unique
    return codes, pd.DataFrame({name: columns[name] for name in by})


def _compacted(codes: npt.NDArray[np.int64], possible: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the codes that occur, sorted, and the place of each of `codes` among them."""
    if possible > 1_000_000:
        present, places = np.unique(codes, return_inverse=True)
        return present, places
    occurs = np.bincount(codes, minlength=possible) > 0
    if occurs.all():
        return np.arange(possible), codes
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[codes]
