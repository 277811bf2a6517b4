"""The cost of requests, and what the cache saved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tailrace.records import HIT


def cost(records: pd.DataFrame, by: Sequence[str] = ("step", "phase")) -> pd.DataFrame:
    """Return a row per group: `by`, requests, from_cache, upstream_calls, tokens, priced, cost_usd, usd_per_1000.

    `priced` is the share of requests whose cost is known, and the costs are theirs: NaN where there are none. (The cost
    of a stream is known only after its headers are sent, and a model may have no price.)
    """
    known = records["cost_microusd"].to_numpy(dtype=np.int64)
    counted = records[[*by]].assign(
        requests=1,
        from_cache=(records["outcome"] == HIT).astype("int64"),
        upstream_calls=records["attempts"],
        tokens_in=records["in_tok"],
        tokens_out=records["out_tok"],
        priced=(known >= 0).astype("int64"),
        cost_usd=np.where(known < 0, np.nan, known / 1e6),
    )
    table = counted.groupby([*by], sort=True).sum(min_count=1).reset_index()
    table["usd_per_1000"] = table["cost_usd"] * 1_000 / table["priced"].where(table["priced"] > 0)
    return table.assign(priced=table["priced"] / table["requests"])


def bill(records: pd.DataFrame) -> dict[str, float | int | None]:
    """Return the total cost_usd (None when none is known), and the counts unpriced and from_cache.

    `cost_usd` is the cost of the requests whose cost is known; the others are `unpriced`.
    """
    known = records["cost_microusd"].to_numpy(dtype=np.int64)
    priced = known[known >= 0]
    return {
        "cost_usd": float(priced.sum()) / 1e6 if len(priced) else None,
        "unpriced": len(known) - len(priced),
        "from_cache": int((records["outcome"] == HIT).sum()),
    }
