"""`tailrace run --baseline`: a run is compared with an earlier one."""

PASS = 'finish("PASS")'
MEASURE = """
import numpy as np, pandas as pd
from tailrace.records import Record
n, rng = 2_000, np.random.default_rng()
took = (rng.lognormal(10.8, 0.3, n) * factor).astype("int64")
hints = Record.__annotations__
plain = {name: "" if "str" in str(kind) else "bool" not in str(kind) and 1 for name, kind in hints.items()}
at = {"intended_ns": np.arange(n) * 5_000_000, "service_us": took, "outcome": "miss", "phase": "switch"}
folder = Path(run_dir) / "records" / "03_blue_green_switch"
folder.mkdir(parents=True)
pd.DataFrame({**plain, **at})[list(Record._fields)].to_parquet(folder / "part-0.parquet")
finish("PASS")
"""


def test_a_run_slower_than_its_baseline_fails(project):
    """--baseline RUN adds a check: the same speed passes, 1.5 times the latency fails; the index marks the baseline."""
    project.step("01_measure", MEASURE, parameters="factor: float = 1.0  # of the latencies\n")
    assert project.run().exit_code == 0
    first = project.latest.name
    same = project.run("run", "--baseline", f"runs/{first}")
    assert (same.exit_code, project.record()["checks"][1]["name"]) == (0, f"no slower than {first}"), same.stdout
    slow = project.run("run", "--baseline", "runs/latest", "--param", "01_measure.factor=1.5")
    check = project.record()["checks"][1]
    assert (slow.exit_code, check["ok"]) == (1, False)
    assert check["fact"].endswith("slower; tolerated 20 %")
    assert f"  ✗ {check['name']}: p99 1." in slow.stdout
    tolerant = project.run("run", "--baseline", f"runs/{first}", "--tolerance", "1", "--param", "01_measure.factor=1.5")
    assert tolerant.exit_code == 0
    index = (project.root / "runs" / "index.html").read_text()
    assert index.count("</tr>") == 1 + 4
    assert f"baseline {first}" in index


def test_without_a_measurement_the_gate_is_not_passed(project):
    """A run without records is INCONCLUSIVE against a baseline; a baseline that is not a run is refused."""
    project.step("01_one", PASS)
    assert project.run().exit_code == 0
    undecided = project.run("run", "--baseline", "runs/latest")
    assert (undecided.exit_code, project.record()["verdict"]) == (2, "INCONCLUSIVE")
    assert "needs 8" in project.record()["checks"][1]["fact"]
    refused = project.run("run", "--baseline", "notebooks")
    assert refused.exit_code == 3
    assert "notebooks is not the folder of a run" in refused.stderr
    assert len(list((project.root / "runs").glob("*-*"))) == 2
