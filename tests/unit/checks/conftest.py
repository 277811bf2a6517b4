"""Records and probes by hand, a few rows at a time."""

import pandas as pd
import pytest

from tailrace.records import Record

S = 1_000_000_000
ROW = Record(
    run_id="r", shard=0, seq=0, step="03_blue_green_switch", phase="switch", colour="blue", release="b", generation=1,
    model="m", stream=False, outcome="miss", error_type="", status=200, attempts=1, intended_ns=0, send_lag_us=0,
    service_us=50_000, ttfc_us=40_000, backoff_us=0, chunks=0, in_tok=1, out_tok=1, cached_tok=0, cost_microusd=1,
)  # fmt: skip


@pytest.fixture
def records():
    """Return records made of the typical row and the differences given, one second apart."""

    def make(*differences):
        rows = [ROW._replace(seq=i, intended_ns=i * S, **d) for i, d in enumerate(differences)]
        return pd.DataFrame(rows, columns=Record._fields)

    return make
