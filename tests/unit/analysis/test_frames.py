"""Reading, checking and labelling records."""

import numpy as np
import pandas as pd
import pytest

from tailrace import analysis
from tailrace.analysis import frames
from tailrace.errors import RecordsError
from tailrace.records import DEFAULTS, Record


def test_parts_are_read_as_one(make, tmp_path):
    """All parts of a folder, or of several, come back as they were written."""
    make([1, 2]).to_parquet(tmp_path / "part-0.parquet")
    make([3], shard=1).to_parquet(tmp_path / "part-1.parquet")
    assert analysis.read(tmp_path)["service_us"].tolist() == [1, 2, 3]
    assert len(analysis.read([tmp_path, tmp_path / "part-0.parquet"])) == 5
    assert tuple(analysis.read(tmp_path).columns) == Record._fields
    assert analysis.read(tmp_path, columns=["seq"]).shape == (3, 1)


def test_older_files_are_filled(make, tmp_path):
    """Columns that an older version did not write hold their defaults, beside those of a newer file."""
    make([1, 2]).drop(columns=list(DEFAULTS)).to_parquet(tmp_path / "part-0.parquet")
    make([3], ttfb_us=7, turn=2).to_parquet(tmp_path / "part-1.parquet")
    records = analysis.read(tmp_path)
    assert tuple(records.columns) == Record._fields
    assert records["ttfb_us"].tolist() == [DEFAULTS["ttfb_us"]] * 2 + [7]
    assert analysis.read(tmp_path, columns=["turn"])["turn"].tolist() == [DEFAULTS["turn"]] * 2 + [2]


def test_dictionary_columns(make, tmp_path):
    """Strings written as categories are strings again."""
    make([1, 2]).astype({"phase": "category"}).to_parquet(tmp_path / "part-0.parquet")
    assert analysis.read(tmp_path)["phase"].tolist() == ["p", "p"]
    assert analysis.read(tmp_path)["phase"].dtype == "str"


def test_no_parts_no_rows(tmp_path):
    """A folder without parts gives no rows, with all columns; a folder that does not exist is an error."""
    assert tuple(analysis.read(tmp_path).columns) == Record._fields
    with pytest.raises(RecordsError, match="does not exist; run the step"):
        analysis.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="status"), r"missing \['status'\]"),
        (lambda f: f.assign(more=1), r"unknown \['more'\]"),
        (lambda f: f.assign(service_us=f["service_us"] / 2), "column service_us is double, expected int"),
    ],
)
def test_other_schemas_are_refused(make, tmp_path, change, message):
    """A missing, unknown or wrongly typed column is named."""
    change(make([1, 2])).to_parquet(tmp_path / "part-0.parquet")
    with pytest.raises(RecordsError, match=message):
        analysis.read(tmp_path)


def test_damage_is_named(tmp_path):
    """A file that was cut off is an error that names it."""
    (tmp_path / "part-0.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(RecordsError, match=r"part-0\.parquet cannot be read"):
        analysis.read(tmp_path)


def test_between(make):
    """Each record gets the label of the last mark at or before its intended start; actions do not label."""
    records = make([1] * 6, rate_rps=1)
    at = records["intended_ns"]
    marks = pd.DataFrame(
        {"t_ns": [at[4], at[1], at[2]], "label": ["baking", "green started", "click"],
         "kind": ["state", "state", "action"]}
    )  # fmt: skip
    phases = analysis.between(records, marks)["phase"].tolist()
    assert phases == ["before", *["green started"] * 3, "baking", "baking"]
    assert analysis.between(analysis.empty(), marks).empty


def test_unknown_start(make):
    """A start that is neither is refused."""
    with pytest.raises(ValueError, match="expected 'intended' or 'sent'"):
        frames.elapsed_us(make(np.ones(1)), "arrived")


def test_times_of_tokens_do_not_overflow_in_nanoseconds(make, tmp_path):
    """They are stored as 32 bits; the control is such a column, which 5 s in ns overflow."""
    path = tmp_path / "part-0.parquet"
    make([1], last_token_us=5_000_000).astype({"last_token_us": "int32"}).to_parquet(path)
    assert (pd.read_parquet(path)["last_token_us"] * 1_000).item() != 5_000_000_000
    assert (analysis.read(path)["last_token_us"] * 1_000).item() == 5_000_000_000
