"""`summary.json` from records: its groups, and what is null in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailrace.cli.load.document import document
from tailrace.cli.load.screen import table
from tailrace.load.recorder import Recorder
from tailrace.load.summary import LoadFacts, ShardResult, parts, summarise
from tailrace.records import Record

PLAIN = Record("", 0, 0, "", "", "", "", 0, "m", False, "miss", "", 200, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, -1)
FACTS = LoadFacts("open", 1, 0, 100.0, (ShardResult(0, 10_000, 10_000, 10**11, 0.2, 0.5, 3.0),))


def summarised(folder: Path, records: list[Record]) -> dict:
    keeper = Recorder(folder, "part-a-0")
    for record in records:
        keeper.add(record)
    keeper.close()
    files = parts(folder, "part-a")
    return document(summarise(files, FACTS), files)


def test_closed_form(tmp_path: Path):
    """Latencies of 1 … 10,000 µs: p50 5.000, p99 9.900, p99.9 9.990 and max 10.000 ms, by `inverted_cdf`."""
    content = summarised(
        tmp_path, [PLAIN._replace(seq=n, intended_ns=n * 10**7, service_us=n + 1) for n in range(10_000)]
    )
    first = content["groups"][0]
    assert (first["group"], first["from"], first["n"], first["errors"]) == ("all", "intended", 10_000, 0)
    assert [first[name] for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms")] == [
        5.0, 9.0, 9.5, 9.9, 9.99, 10.0,
    ]  # fmt: skip
    assert first["p99_lo_ms"] <= first["p99_ms"] <= first["p99_hi_ms"]


def test_lag_counts_from_intended_only(tmp_path: Path):
    """A generator that was 5 ms late adds 5 ms from intended and nothing from sent."""
    records = [PLAIN._replace(seq=n, intended_ns=n * 10**6, send_lag_us=5000, service_us=1000) for n in range(500)]
    intended, sent = summarised(tmp_path, records)["groups"]
    assert (intended["p99_ms"], sent["p99_ms"]) == (6.0, 1.0)


def test_groups_where_there_is_more_than_one(tmp_path: Path):
    """Hits and misses, models, colours and streams are apart; failures are in no distribution."""
    records = [
        PLAIN._replace(seq=n, outcome=("hit", "miss")[n % 2], model=f"m{n % 2}", stream=n % 4 == 0, intended_ns=n)
        for n in range(400)
    ]
    records.append(PLAIN._replace(outcome="error", error_type="timeout", service_us=9 * 10**6))
    content = summarised(tmp_path, records)
    names = [group["group"] for group in content["groups"][::2]]
    assert names == ["all", "hit", "miss", "model m", "model m0", "model m1", "stream", "not stream"]
    assert (content["groups"][0]["n"], content["groups"][0]["errors"]) == (400, 1)
    assert content["groups"][0]["max_ms"] == 0.0


def test_nothing_is_null_and_json_all_the_way(tmp_path: Path):
    """Without records every figure is null, never 0 or NaN, and the load run is not valid."""
    content = summarised(tmp_path, [])
    assert json.loads(json.dumps(content, allow_nan=False)) == content | {"reasons": list(content["reasons"])}
    assert content["groups"][0]["p50_ms"] is None
    assert not content["valid"]
    assert "INVALID: no records" in table(content)


def test_the_table_names_the_loop(tmp_path: Path):
    """The loop, the rates and the lag are the first line; a percentile that n is too small for is n/a."""
    text = table(summarised(tmp_path, [PLAIN._replace(seq=n, service_us=2500) for n in range(100)]))
    assert text.startswith("open loop · ")
    assert "n/a" in text
    assert text.count("2.50") == pytest.approx(8)
