"""Records on disk: all of them, exactly, in little space, readable at any moment."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tailrace.load import recorder
from tailrace.load.recorder import MOST_LABELS, Recorder
from tailrace.records import Record

PLAIN = Record(
    "run", 0, 0, "step", "phase", "blue", "r1", 3, "gpt-4o-mini", False, "miss", "", 200, 1, 10**15, 57, 50_123, 40_111,
    0, 0, 16, 8, 0, 12,
)  # fmt: skip


def rows(folder: Path) -> list[Record]:
    return [Record(**row) for part in sorted(folder.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_gives_back_what_it_took(tmp_path: Path):
    """Every column of every record comes back, in the order of the intended times."""
    records = [PLAIN._replace(seq=n, intended_ns=10**15 + n, colour=f"c{n % 3}", stream=n % 2 == 0) for n in range(500)]
    records[7] = records[7]._replace(outcome="error", error_type="http_503", status=503, ttfc_us=-1, cost_microusd=-1)
    keeper = Recorder(tmp_path, "part-a-0")
    for record in random.Random(1).sample(records, len(records)):
        keeper.add(record)
    keeper.close()
    assert rows(tmp_path) == records


def test_columns_are_those_of_a_record(tmp_path: Path):
    """Names and order are the schema's; strings are strings to a reader."""
    keeper = Recorder(tmp_path, "part-a-0")
    keeper.add(PLAIN)
    keeper.close()
    schema = pq.read_schema(tmp_path / "part-a-0-00000.parquet")
    assert tuple(schema.names) == Record._fields
    assert str(schema.field("colour").type) == "string"


def test_memory_is_bounded_by_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A full part is written while records go on coming."""
    monkeypatch.setattr(recorder, "ROWS_PER_PART", 100)
    keeper = Recorder(tmp_path, "part-a-0")
    for n in range(1050):
        keeper.add(PLAIN._replace(seq=n))
        assert len(keeper._rows) < 100 * recorder._PACK.size
    deadline = time.monotonic() + 60
    while len(rows(tmp_path)) < 1000 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(rows(tmp_path)) == 1000
    keeper.close()
    assert len(rows(tmp_path)) == 1050


def test_a_slow_trickle_is_written_too(tmp_path: Path):
    """A part that is old enough is written, however few rows it has."""
    keeper = Recorder(tmp_path, "part-a-0", part_s=0.0)
    keeper.add(PLAIN)
    keeper.tick()
    deadline = time.monotonic() + 60
    while not rows(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(rows(tmp_path)) == 1
    keeper.close()


def test_few_bytes_a_row(tmp_path: Path):
    """With noisy times of a busy service a row takes less than 16 bytes."""
    chance = random.Random(4)
    keeper = Recorder(tmp_path, "part-a-0")
    at = 10**15
    for n in range(50_000):
        at += int(chance.expovariate(1 / 120_000))
        took = int(chance.lognormvariate(10.8, 0.4))
        lag, colour = int(chance.expovariate(1 / 60)), chance.choice(["blue", "green"])
        keeper.add(
            PLAIN._replace(
                seq=n,
                intended_ns=at,
                send_lag_us=lag,
                service_us=took,
                ttfc_us=took - 30,
                colour=colour,
                out_tok=chance.randrange(8, 24),
            )
        )
    keeper.close()
    assert sum(part.stat().st_size for part in tmp_path.glob("*.parquet")) / 50_000 < 16


def test_says_when_it_could_not_write(tmp_path: Path):
    """A disk that refuses is an error at the end, not silence."""
    keeper = Recorder(tmp_path / "gone", "part-a-0")
    (tmp_path / "gone").rmdir()
    keeper.add(PLAIN)
    with pytest.raises(OSError, match="gone"):
        keeper.close()


@pytest.mark.parametrize("name", ["in_tok", "status", "cost_microusd", "backoff_us"])
def test_a_number_beyond_its_column_is_the_largest(tmp_path: Path, name: str):
    """A count that no column holds is written as the largest that it holds; the other columns are untouched."""
    keeper = Recorder(tmp_path, "part-a-0")
    keeper.add(PLAIN._replace(**{name: 10**30}))
    keeper.close()
    (row,) = rows(tmp_path)
    assert getattr(row, name) == np.iinfo(recorder.TYPES[name]).max
    assert row._replace(**{name: 0}) == PLAIN._replace(**{name: 0})


def test_endless_new_strings_do_not_grow_for_ever(tmp_path: Path):
    """Beyond MOST_LABELS different strings the rest share one name."""
    keeper = Recorder(tmp_path, "part-a-0")
    for n in range(MOST_LABELS + 100):
        keeper.add(PLAIN._replace(release=f"r{n}"))
    assert len(keeper._codes) <= MOST_LABELS + 1
    keeper.close()
    assert rows(tmp_path)[-1].release == "(too many)"
