"""The times that are measured of a request: what each is, which requests have it, and how it is computed.

A measure is one entry of `TABLE`. Its expressions are read by Python, over arrays, and by DuckDB alike, so that a table
from memory, one from disk and a search for the highest rate cannot differ. Values are whole numbers, `per_ms` of them a
millisecond.

    latency   the whole answer
    e2e       the whole answer, of streams alone
    ttft      time to first token: the first chunk that carries one, whatever its kind (reasoning, content, tool call)
    tpot      time per output token: (last token - first token) / (tokens out - 1), by the count of the usage

The gaps between the tokens (ITL) are no measure of a request, which has many: see `analysis.gaps`. Definitions of other
tools, and the differences: runbook/procedures/numbers.md.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from tailrace.records import ERROR

if TYPE_CHECKING:  # the service has no NumPy
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]
    Values = npt.NDArray[np.int64]

Start = Literal["intended", "sent"]


class Columns(Protocol):
    """Columns of records by name, all of one length: a DataFrame, or a dictionary of arrays."""

    def __getitem__(self, name: str, /) -> Any: ...


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

    def value(self, start: Start) -> str:
        """Return the expression of its value from this start."""
        if start not in ("intended", "sent"):
            raise ValueError(f"start: found {start!r}, expected 'intended' or 'sent'")
        return f"send_lag_us + {self.sent}" if self.lagging and start == "intended" else self.sent


TABLE: Final[Mapping[str, Measure]] = types.MappingProxyType(
    {
        "latency": Measure("", "service_us"),
        "e2e": Measure("end to end", "service_us", eligible=("stream",), known=("service_us >= 0",)),
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


def values(records: Columns, measure: Measure, start: Start, which: Mask | None = None) -> Values:
    """Return the value of each record (of those of the mask `which`), all of which have to have it."""
    found: Values = _evaluated(records, measure.value(start), which).astype("int64", copy=False)
    return found


def holds(records: Columns, conditions: Iterable[str]) -> Mask:
    """Return a mask of the records of which all `conditions` hold."""
    import numpy as np

    mask = np.ones(len(records["outcome"]), dtype=bool)
    for condition in conditions:
        mask &= _evaluated(records, condition)
    return mask


def eligible(records: Columns, names: Iterable[str]) -> Mask:
    """Return a mask of the records that ought to have all these measures."""
    return holds(records, [condition for name in names for condition in named(name).eligible])


def good(records: Columns, limits_ms: Mapping[str, float], start: Start) -> Mask:
    """Return a mask of the records that succeeded and kept the limit of each measure.

    One that ought to have a measure, and has not, does not keep its limit.
    """
    import numpy as np

    mask: Mask = np.asarray(records["outcome"] != ERROR).astype(bool)
    for name, limit_ms in limits_ms.items():
        measure = named(name)
        known = holds(records, measure.known)
        kept = holds(records, [measure.void]) if measure.void else np.zeros(len(mask), dtype=bool)
        kept[known] = values(records, measure, start, known) <= limit_ms * measure.per_ms
        mask &= kept
    return mask


def good_sql(limits_ms: Mapping[str, float], start: Start) -> str:
    """Return the rule of `good` as a condition of SQL."""
    conditions = [f"outcome <> '{ERROR}'"]
    for name, limit_ms in limits_ms.items():
        measure = named(name)
        known, limit = " AND ".join(measure.known) or "true", limit_ms * measure.per_ms
        kept = f"({measure.value(start)}) <= {limit!r}"
        conditions.append(f"CASE WHEN {known} THEN {kept} ELSE {measure.void or 'false'} END")
    return " AND ".join(conditions)


def _evaluated(records: Columns, expression: str, which: Mask | None = None) -> Any:
    """Return the value of an expression of `TABLE` over the columns that it names."""
    import numpy as np

    columns = {name: np.asarray(records[name]) for name in COLUMNS if name in expression}
    chosen = columns if which is None else {name: values[which] for name, values in columns.items()}
    return eval(expression, {"__builtins__": {}}, chosen)  # noqa: S307  expressions are constants of this module
