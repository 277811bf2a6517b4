"""`summary.json` from records: its groups, and what is null in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tailrace.cli.load.document import document
from tailrace.load.recorder import Recorder
from tailrace.load.summary import LoadFacts, ShardResult, parts, summarise
from tailrace.records import Record

PLAIN = Record("", 0, 0, "", "", "", "", 0, "m", False, "miss", "", 200, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0, -1)
FACTS = LoadFacts("open", 1, 0, 100.0, (ShardResult(0, 10_000, 10_000, 10**11, 0.2, 0.5, 3.0),))


def summarised(folder: Path, records: list[Record], gaps_us: Sequence[int] = (), limits_ms=None) -> dict:
    keeper = Recorder(folder, "part-a-0")
    for record in records:
        keeper.add(record, gaps_us)
    keeper.close()
    files = parts(folder, "part-a")
    return document(summarise(files, FACTS), files, limits_ms)


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


STREAM = PLAIN._replace(
    stream=True, service_us=100_000, ttfc_us=20_000, last_token_us=95_000, in_tok=12, out_tok=16,
    planned_in_tok=10, planned_out_tok=16, prefix_tok=5, cached_tok=4,
)  # fmt: skip


def test_streams_have_the_times_of_tokens(tmp_path: Path):
    """A group of streams has TTFT, TPOT and ITL with intervals and n, and tokens per second of one user and of all."""
    records = [STREAM._replace(seq=n, intended_ns=n * 10**7, send_lag_us=1000) for n in range(500)]
    content = summarised(tmp_path, records, gaps_us=[5_000] * 15)
    intended, sent = content["groups"]
    assert (intended["ttft"]["p99_ms"], sent["ttft"]["p99_ms"]) == (21.0, 20.0)
    assert (intended["tpot"]["p50_ms"], intended["tpot"]["p50_lo_ms"], intended["tpot"]["n"]) == (5.0, 5.0, 500)
    assert (intended["itl"]["p99_ms"], intended["itl"]["n"]) == (pytest.approx(5.0, rel=1e-3), 7_500)
    tokens = intended["tokens"]
    assert (tokens["per_user_s"], tokens["per_user_s_lo"], tokens["per_user_s_hi"]) == (200.0, 200.0, 200.0)
    assert tokens["per_s"] == pytest.approx(500 * 16 / (499 * 0.01 + 0.1), rel=1e-6)
    assert (tokens["in_deviation"], tokens["out_deviation"]) == (pytest.approx(0.2), 0.0)
    assert (tokens["prefix_share"], tokens["cached_share"]) == (0.5, pytest.approx(1 / 3))
    assert content["deviations"] == ["input tokens deviate by +20.0% from the plan (limit 2%)"]


def test_plain_answers_have_no_times_of_tokens(tmp_path: Path):
    """Where nothing was streamed there is no TTFT, rather than one of 0."""
    group = summarised(tmp_path, [PLAIN._replace(seq=n, intended_ns=n) for n in range(100)])["groups"][0]
    assert not {"ttft", "tpot", "itl"} & set(group)
    assert group["tokens"]["per_user_s"] is None


def test_a_good_request_keeps_every_limit(tmp_path: Path):
    """With limits there is goodput with its interval; without, there is none."""
    records = [STREAM._replace(seq=n, intended_ns=n, ttfc_us=20_000 + 400 * (n % 2)) for n in range(500)]
    content = summarised(tmp_path, records, limits_ms={"ttft": 20.2})
    assert (content["goodput"]["n"], content["goodput"]["good"], content["goodput"]["share"]) == (500, 250, 0.5)
    assert content["goodput"]["share_lo"] < 0.5 < content["goodput"]["share_hi"]
    assert summarised(tmp_path / "again", records)["goodput"] is None
