"""A run against an earlier one."""

import numpy as np

from tailrace.report import baseline, store


def slower(run_dir, factor):
    """Make the switch of a run `factor` times slower."""
    path = run_dir / "records" / "03_blue_green_switch" / "part-0.parquet"
    records = store.frame(run_dir, "03_blue_green_switch", "records")
    many = records.loc[np.repeat(np.arange(len(records)), 2)].reset_index(drop=True)
    many["service_us"] = (many["service_us"] * factor).astype("int64")
    many.to_parquet(path)


def test_slower_than_the_baseline_fails(tmp_path, new_run):
    """A run half as slow again as its baseline fails the gate; the same one passes it."""
    base, same, slow = (new_run(tmp_path / name) for name in ("a", "b", "c"))
    for run_dir, factor in ((base, 1), (same, 1), (slow, 1.5)):
        slower(run_dir, factor)
    failed = baseline.against(slow, base)
    assert failed.judgement.verdict == "FAIL"
    assert "descriptive" not in baseline.against(same, base).judgement.text
    assert baseline.against(same, base).judgement.verdict == "PASS"
    assert baseline.table(failed)["verdict"].iloc[0] == "slower"


def test_without_records_nothing_is_decided(tmp_path):
    """Against a run without records the gate is INCONCLUSIVE, never PASS."""
    assert baseline.against(tmp_path, tmp_path).judgement.verdict == "INCONCLUSIVE"
