"""What requests cost, and what the cache kept from costing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tailrace.records import HIT


def cost(records: pd.DataFrame, by: Sequence[str] = ("step", "phase")) -> pd.DataFrame:
    """Return a row per group: `by`, requests, from_cache, upstream_calls, tokens, cost_usd, usd_per_1000.

    cost_usd is NaN where the price of a model is not known for one request or more.
    """
    known = records["cost_microusd"].to_numpy(dtype=np.int64)
    counted = records[[*by]].assign(
        requests=1,
        from_cache=(records["outcome"] == HIT).astype("int64"),
        upstream_calls=records["attempts"],
        tokens_in=records["in_tok"],
        tokens_out=records["out_tok"],
        cost_usd=np.where(known < 0, np.nan, known / 1e6),
    )
    table = counted.groupby([*by], sort=True).sum(min_count=1).reset_index()
    unknown = counted.assign(unknown=known < 0).groupby([*by], sort=True)["unknown"].any().to_numpy()
    table["cost_usd"] = table["cost_usd"].where(~unknown)
    return table.assign(usd_per_1000=table["cost_usd"] * 1_000 / table["requests"])
