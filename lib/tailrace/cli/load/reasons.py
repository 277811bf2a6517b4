"""What a summary says beyond its numbers: why requests failed, and what the server said of itself meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tailrace.host.machine import MACHINE
from tailrace.load import LoadRun
from tailrace.load.beside import SERVER

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = ("intended_ns", "send_lag_us", "service_us", "outcome", "error_type", "colour")


def why(load_run: LoadRun) -> dict[str, Any]:
    """Return `why`: the classes of the failures, when they came, and the causes that the samples show."""
    from tailrace import analysis  # brings pandas
    from tailrace.checks import explanation
    from tailrace.checks.circumstances import Samples

    records = analysis.read(load_run.parts, list(COLUMNS))
    sampled = {name: rows for name in (MACHINE, SERVER) if (rows := _samples(load_run, name)) is not None}
    found = explanation.failures(records, Samples(**sampled))
    return {"why": found.document()} if found else {}


def server(load_run: LoadRun) -> dict[str, Any]:
    """Return `server`: its gauges and the percentiles of its own histograms, or why it told nothing."""
    from tailrace.analysis import server

    rows = _samples(load_run, SERVER)
    content = {"why": "it was not read"} if rows is None else server.document(rows)
    return {"server": content | {"text": server.words(content)}}


def _samples(load_run: LoadRun, name: str) -> pd.DataFrame | None:
    import pandas as pd

    path = load_run.out / f"{name}-{load_run.prefix.removeprefix('part-')}.parquet"
    return pd.read_parquet(path) if path.is_file() else None
