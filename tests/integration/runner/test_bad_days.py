"""Where the machine refuses, a run could not run: exit status 3, one line, nothing half-written; the next one works."""

import signal
import time

import pytest

import disks
from tailrace.host import processes
from tailrace.runner.interrupt import SAME_S

PASS = 'finish("PASS")'


def refused(project):
    """Run, and return the one line of the refusal."""
    done = project.run()
    assert (done.exit_code, len(done.stderr.splitlines())) == (3, 1), done.output
    assert "Traceback" not in done.output
    return done.stderr


def runs(project):
    return sorted(path.name for path in (project.root / "runs").iterdir())


@pytest.mark.deep
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_something_else_in_the_place_of_latest_is_not_replaced(project, kind):
    """An artefact store resolves links: what it left is the user's, and the refusal names it; a link is replaced."""
    project.step("01_one", PASS)
    latest = project.root / "runs" / "latest"
    (latest if kind == "folder" else latest.parent).mkdir(parents=True)
    if kind == "file":
        latest.write_text("20260101-120000-local-ab12")
    line = refused(project)
    assert line.startswith(f"tailrace: {latest}: is a {kind} here, and not the link to the latest run; move away")
    assert runs(project) == ["latest"]
    latest.rename(project.root / "aside")
    latest.symlink_to("gone")  # the control, and the next run
    assert project.run().exit_code == 0


@pytest.mark.deep
@pytest.mark.parametrize("place", ["runs", ".tailrace"])
def test_a_file_in_the_place_of_a_folder_is_named(project, place):
    """A file where the runs or the state belong."""
    project.step("01_one", PASS)
    (project.root / place).touch()
    assert f"{project.root / place}" in refused(project)
    (project.root / place).unlink()
    assert project.run().exit_code == 0


@pytest.fixture
def runs_disk(small_disk, project):
    """`runs/` on a disk of 4 MB."""
    return small_disk(project.root / "runs", "4m")


FILL = """\
path = Path(run_dir) / "fill"
with path.open("wb", buffering=0) as file:
    while True:
        file.write(bytes(4096))"""


@pytest.mark.tmpfs
@pytest.mark.deep
@pytest.mark.parametrize(
    "body", [FILL, f"try:\n    {FILL.replace(chr(10), chr(10) + '    ')}\nexcept OSError: pass\n{PASS}"]
)
def test_a_disk_that_fills_in_a_step_is_no_verdict(project, runs_disk, body):
    """The run could not run; its run.json is whole and says so; the run after it passes, and needs no cleaning up."""
    project.step("01_one", body)
    done = project.run()
    record = project.record()
    assert (done.exit_code, record["verdict"], record["exit_code"]) == (3, "INCONCLUSIVE", 3), done.output
    assert "No space left on device" in record["reason"]
    assert "Traceback" not in done.output
    (project.latest / "fill").unlink()
    (project.root / "runbook" / "plan.yaml").write_text("steps:\n")
    project.step("02_next", PASS)
    after = project.run()
    assert (after.exit_code, "cleaning up" in after.output) == (0, False), after.output


@pytest.mark.tmpfs
def test_a_run_without_room_to_begin_leaves_nothing(project, runs_disk):
    """The folder of the run is gone, `latest` is where it was, and what is deployed is not touched."""
    project.step("01_one", PASS)
    assert project.run().exit_code == 0
    before = {path.name for path in runs_disk.iterdir()}, (runs_disk / "latest").readlink()
    disks.fill(runs_disk)
    assert "No space left on device" in refused(project)
    (runs_disk / disks.FILLER).unlink()
    assert ({path.name for path in runs_disk.iterdir()}, (runs_disk / "latest").readlink()) == before
    assert project.run().exit_code == 0


HOLD = """\
import importlib, os, pathlib, time
import tailrace.runner.interrupt as interrupt

module, function = os.environ["HELD_AT"].split(":")
interrupt.PATIENCE_S = float(os.environ["PATIENCE_S"])

def held(*arguments, **options):
    mark = pathlib.Path(os.environ["HELD_MARK"])
    mark.with_suffix(".new").write_text(str(os.getpid()))
    mark.with_suffix(".new").rename(mark)
    time.sleep(600)

setattr(importlib.import_module(module), function, held)
"""


@pytest.fixture
def held(project, tmp_path):
    """Return a function that starts a run which is held at a function, and the pid that is held there."""

    def start(place, patience_s=600.0):
        (tmp_path / "hold").mkdir(exist_ok=True)
        (tmp_path / "hold" / "sitecustomize.py").write_text(HOLD)
        mark = tmp_path / "held"
        mark.unlink(missing_ok=True)
        process = project.start(
            "run", HELD_AT=place, HELD_MARK=str(mark), PATIENCE_S=str(patience_s), PYTHONPATH=str(tmp_path / "hold")
        )
        while not mark.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        return process, int(mark.read_text())

    return start


def end(process, *numbers):
    """Send the signals, as far apart as a person's, and return the outputs when the process has ended."""
    for place, number in enumerate(numbers):
        time.sleep(place and SAME_S + 0.2)
        process.send_signal(number)
    return process.communicate(timeout=60)


def test_a_signal_before_the_run_begins_ends_it(project, held):
    """Nothing is left, and the exit status is 143."""
    project.step("01_one", PASS)
    process, _ = held("tailrace.runner.plan:load")
    _, errors = end(process, signal.SIGTERM)
    assert (process.returncode, errors) == (143, "tailrace: SIGTERM: nothing had begun\n")
    assert not (project.root / "runs").exists()


@pytest.mark.parametrize(
    ("place", "forked"),
    [
        pytest.param("tailrace.run.leaks:require_none", True, marks=pytest.mark.deep),
        pytest.param("tailrace.run.leaks:require_none", False, marks=pytest.mark.deep),
        pytest.param("tailrace.report.page:write", True, marks=pytest.mark.deep),
    ],
)
def test_the_end_of_a_run_is_cut_when_its_time_is_over(project, held, place, forked):
    """After one signal, a scan or a page that takes too long is ended; the run is whole, INCONCLUSIVE, and 143."""
    project.step("01_one", "# tailrace.notebook, as every step of the runbook has it\n" * forked + PASS)
    process, pid = held(place, patience_s=1.0)
    assert (pid == process.pid) is not forked
    output, errors = end(process, signal.SIGTERM)
    record = project.record()
    assert (process.returncode, record["exit_code"], errors) == (143, 143, ""), output
    assert (record["verdict"], record["reason"]) == ("INCONCLUSIVE", "interrupted by SIGTERM")
    assert [check["ok"] for check in record["checks"] if "after the signal" in check["fact"]]
    assert processes.started(pid) is None


PLACES = [
    "tailrace.run.leaks:require_none",
    "tailrace.runner.cleanup:sweep",
    "tailrace.runner.cleanup:tear_down",
    "tailrace.report.page:write",
    "tailrace.report.index:write",
]


@pytest.mark.deep
def test_a_second_signal_ends_a_run_at_once(project, held):
    """In whatever it is; nothing of it lives on, and the next run, which is held elsewhere, needs no hand."""
    project.step("01_one", "# tailrace.notebook\n" + PASS)
    for place in PLACES:
        process, pid = held(place)
        _, errors = end(process, signal.SIGINT, signal.SIGINT)
        assert process.returncode == 130, place
        assert errors == "tailrace: SIGINT again: ended at once; the next run, or tailrace down, cleans up\n"
        assert processes.started(pid) is None, place
    assert project.run().exit_code == 0
