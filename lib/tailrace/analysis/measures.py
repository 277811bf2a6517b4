"""The times that are measured of a request: what each is, which requests have it, and how it is computed.

A measure is one entry of `TABLE`. Its expressions are read by pandas and by DuckDB alike, so that a table from memory
and one from disk cannot differ. Values are whole numbers, `per_ms` of them a millisecond.

    latency   the whole answer
    ttft      time to first token: the first chunk that carries one, whatever its kind (reasoning, content, tool call)
    tpot      time per output token: (last token - first token) / (tokens out - 1), by the count of the usage

The gaps between the tokens (ITL) are no measure of a request, which has many: see `analysis.gaps`. Definitions of other
tools, and the differences: runbook/procedures/numbers.md.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from tailrace.analysis import frames

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Measure:
    """One measure. Conditions are expressions of columns; of several, all have to hold."""

    title: str
    """For people: "TTFT"; "" for the latency, whose percentiles need no name."""
    sent: str
    """Its value, from when the request was sent."""
    lagging: bool = True
    """Whether it begins with the request, so that from the intended start the send lag is part of it."""
    eligible: tuple[str, ...] = ()
    """Of a request that ought to have it."""
    known: tuple[str, ...] = ()
    """Of a success that has it."""
    void: str = ""
    """Of a success that cannot have it, and so keeps any limit of it."""
    per_ms: int = 1_000

    def value(self, start: frames.Start) -> str:
        """Return the expression of its value from this start."""
        if start not in ("intended", "sent"):
            raise ValueError(f"start: found {start!r}, expected 'intended' or 'sent'")
        return f"send_lag_us + {self.sent}" if self.lagging and start == "intended" else self.sent


TABLE: Final[Mapping[str, Measure]] = types.MappingProxyType(
    {
        "latency": Measure("", "service_us"),
        "ttft": Measure("TTFT", "ttfc_us", eligible=("stream",), known=("ttfc_us >= 0",)),
        "tpot": Measure(
            "TPOT",
            "(last_token_us - ttfc_us) * 1000 // (out_tok - 1)",  # in ns: a token may take less than a microsecond
            lagging=False,
            eligible=("stream",),
            known=("ttfc_us >= 0", "out_tok >= 2", "last_token_us >= ttfc_us"),
            void="out_tok == 1",
            per_ms=1_000_000,
        ),
    }
)
COLUMNS: Final = (
    "stream",
    "outcome",
    "intended_ns",
    "send_lag_us",
    "service_us",
    "ttfc_us",
    "last_token_us",
    "out_tok",
)
"""The columns of records that measures are computed from."""


def named(name: str) -> Measure:
    """Return the measure `name`; raise ValueError when there is none."""
    if name not in TABLE:
        raise ValueError(f"measure: found {name!r}, expected one of {', '.join(TABLE)}")
    return TABLE[name]


def values(records: pd.DataFrame, measure: Measure, start: frames.Start) -> npt.NDArray[np.int64]:
    """Return the value of each record; all of them have to have it."""
    found: npt.NDArray[np.int64] = np.asarray(_evaluated(records, measure.value(start)), dtype=np.int64)
    return found


def holds(records: pd.DataFrame, conditions: Iterable[str]) -> Mask:
    """Return a mask of the records of which all `conditions` hold."""
    mask = np.ones(len(records), dtype=bool)
    for condition in conditions:
        mask &= np.asarray(_evaluated(records, condition), dtype=bool)
    return mask


def keeps(records: pd.DataFrame, measure: Measure, start: frames.Start, limit_ms: float) -> Mask:
    """Return a mask of the records that keep the limit. One that ought to have the measure and has not does not."""
    kept = holds(records, [measure.void]) if measure.void else np.zeros(len(records), dtype=bool)
    known = holds(records, measure.known)
    kept[known] = values(records[known], measure, start) <= limit_ms * measure.per_ms
    return kept


def keeps_sql(measure: Measure, start: frames.Start, limit_ms: float) -> str:
    """Return the same rule as a condition of SQL."""
    known, value = " AND ".join(measure.known) or "true", measure.value(start)
    return f"CASE WHEN {known} THEN ({value}) <= {limit_ms * measure.per_ms!r} ELSE {measure.void or 'false'} END"


def _evaluated(records: pd.DataFrame, expression: str) -> Any:
    columns = {name: records[name].to_numpy() for name in COLUMNS if name in expression}
    return pd.eval(expression, engine="python", local_dict=columns)
