"""From an invalid measurement to the verdict on the page: worker → summary → step → report."""

import os
import shutil
import signal
import time

import psutil
import pytest

from tailrace import analysis
from tailrace.load import Traffic, arrivals
from tailrace.notebook.step import begin
from tailrace.objectives import Objectives
from tailrace.profile import load
from tailrace.report import page
from tailrace.run import folder

PHASE = "steady"
FREEZE_S = 0.7


@pytest.fixture
def judged(serve, tmp_path, root, monkeypatch):
    """Measure a server of a fixed second for two, in a step, and judge its median; gives the step."""
    shutil.copytree(root / "runbook", tmp_path / "runbook")
    monkeypatch.chdir(tmp_path)

    def measured(freeze_s: float):
        run = folder.create_run(tmp_path, load("local", tmp_path))
        step = begin("04_load_test", run_dir=str(run.path))
        with step.run_load(Traffic(arrivals.constant(50, 2), phase=PHASE), serve(1.0).url):
            time.sleep(0.5)
            frozen = [child for child in psutil.Process(os.getpid()).children() if _generates(child)]
            for process in frozen if freeze_s else []:
                process.send_signal(signal.SIGSTOP)
                time.sleep(freeze_s)
                process.send_signal(signal.SIGCONT)
        reasons = step.invalid_reasons(f"records:{PHASE}")
        step.add_judgements(analysis.judge(step.records(PHASE), Objectives({"p50": 5_000}), invalid=reasons))
        step.finish()
        return step

    return measured


def _generates(process: psutil.Process) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and "tailrace.load.worker" in process.cmdline()


def test_an_invalid_measurement_is_inconclusive_to_the_last_page(judged):
    """A generator that was frozen decides nothing, though every percentile is within its limit, and says why."""
    step = judged(FREEZE_S)
    (check,) = step.result.checks
    assert (step.verdict, check.ok) == ("INCONCLUSIVE", None)
    assert check.fact.startswith("the measurement is invalid: steady: the generator's send lag has p99 ")
    assert "is within 5,000 ms; n = 100; generator lag p99 " in check.fact
    assert "the measurement is invalid: steady: the generator" in page.html(step.run.path).replace("&#39;", "'")


def test_a_valid_measurement_passes(judged):
    """The same without the freeze is a PASS. (A busy machine may disturb two of three loads.)"""
    for _ in range(3):
        step = judged(0)
        if not step.invalid_reasons():
            break
    (check,) = step.result.checks
    assert step.verdict == "PASS", check.fact
    assert check.fact.startswith("p50 1,")
    assert "invalid" not in page.html(step.run.path)
