"""The comparison of a run with an earlier one."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from tailrace import cli
from tailrace.report import baseline, evidence


def slower(run_dir, factor):
    """Make the switch of a run `factor` times slower."""
    path = run_dir / "records" / "03_blue_green_switch" / "part-0.parquet"
    records = evidence.frame(run_dir, "03_blue_green_switch", "records")
    many = records.loc[np.repeat(np.arange(len(records)), 2)].reset_index(drop=True)
    many["service_us"] = (many["service_us"] * factor).astype("int64")
    many.to_parquet(path)


def test_slower_than_the_baseline_fails(tmp_path, new_run):
    """A run that is 50 % slower than its baseline fails the gate; an equal run passes it."""
    base, same, slow = (new_run(tmp_path / name) for name in ("a", "b", "c"))
    for run_dir, factor in ((base, 1), (same, 1), (slow, 1.5)):
        slower(run_dir, factor)
    failed = baseline.against(slow, base)
    assert failed.judgement.verdict == "FAIL"
    assert "tolerated 20 %" in failed.judgement.text
    assert baseline.against(same, base).judgement.verdict == "PASS"
    assert baseline.table(failed)["verdict"].iloc[0] == "slower"


def test_without_records_nothing_is_decided(tmp_path):
    """A comparison without records is INCONCLUSIVE, never PASS."""
    assert baseline.against(tmp_path, tmp_path).judgement.verdict == "INCONCLUSIVE"


@pytest.fixture
def pair(tmp_path, new_run):
    """Return two runs with the same distribution of latency, the second 50 % slower."""
    base, slow = new_run(tmp_path / "a"), new_run(tmp_path / "b")
    slower(base, 1)
    slower(slow, 1.5)
    return base, slow


def rebooted(run_dir):
    """Shift the start of the run's clock by an hour, as a reboot would."""
    document = json.loads((run_dir / "run.json").read_text())
    document["clock"]["wall_ns"] += 3_600 * 10**9
    (run_dir / "run.json").write_text(json.dumps(document))


def test_equal_clock_readings_of_two_boots_are_not_the_same_time(pair):
    """Records that overlap on one clock are concurrent; the same readings of another boot are not."""
    base, slow = pair
    assert baseline.against(slow, base).concurrent
    rebooted(slow)
    compared = baseline.against(slow, base)
    assert not compared.concurrent
    assert compared.judgement.text.endswith("descriptive")
    assert compared.judgement.verdict == "FAIL"


def test_a_late_generator_decides_nothing(pair):
    """A load generator that lags makes the gate INCONCLUSIVE, not FAIL; the reason names the run."""
    base, slow = pair
    path = base / "records" / "03_blue_green_switch" / "part-0.parquet"
    records = evidence.frame(base, "03_blue_green_switch", "records")
    records["send_lag_us"] += 30_000
    records.to_parquet(path)
    judged = baseline.against(slow, base).judgement
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.text.startswith("baseline: the generator's send lag has p99 30.")


def test_different_things_are_not_compared(pair):
    """A run with a switch is not compared with one that has none, unless the records of both are named."""
    base, slow = pair
    shutil.rmtree(slow / "records" / "03_blue_green_switch")
    judged = baseline.against(slow, base).judgement
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.text.startswith("the runs measured different things: all/records against 03_blue_green_switch/")
    assert "different" not in baseline.against(slow, base, on="04_load_test/records").judgement.text


def call(*arguments):
    return CliRunner().invoke(cli.main, ["compare", *map(str, arguments)])


def test_the_command_shows_a_table_and_leaves_with_the_verdict(pair):
    """`tailrace compare A B`: FAIL is 1, PASS 0, INCONCLUSIVE 2, a folder that is not a run 3."""
    base, slow = pair
    failed = call(base, slow)
    assert failed.exit_code == 1
    assert "p99 (primary)" in failed.stdout
    assert "\nFAIL  p99 1." in failed.stdout
    assert call(base, base).exit_code == call(slow, base).exit_code == 0
    assert call(base, slow, "--tolerance", "0.9").exit_code == 0
    assert call(base, slow, "--on", "09_none/records").exit_code == 2
    assert call(base, slow / "records").exit_code == 3


def test_the_command_prints_json(pair):
    """--json holds the verdict, both ids and every metric, and is valid JSON even without any values."""
    base, slow = pair
    document = json.loads(call(base, slow, "--json").stdout)
    assert (document["verdict"], document["a"], document["b"], document["tolerance"]) == ("FAIL", "a", "b", 0.2)
    assert document["metrics"][0]["ratio"] == pytest.approx(1.5, rel=0.1)
    nothing = json.loads(call(base, slow, "--json", "--on", "09_none/records").stdout)
    assert nothing["metrics"][0]["ratio"] is None
