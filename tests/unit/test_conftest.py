"""The rules of conftest.py hold: required parts, depth, tests that run alone, and processes that are left."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from depth import scaled

TESTS = Path(__file__).parents[1]
CONFTEST = (TESTS / "conftest.py").read_text()
SKIPS = """
import pytest

@pytest.mark.docker
def test_marked():
    pytest.skip("not today")

def test_reason():
    pytest.skip("no redis-server on this machine")

@pytest.mark.xfail(reason="docker redis")
def test_xfail():
    assert False
"""
DEEP = """
import pytest

@pytest.mark.deep
def test_deep():
    pass

def test_quick():
    pass
"""
ALONE = """
import fcntl
import pathlib
import time

import pytest

LOCK = (pathlib.Path(__file__).parent / "lock").open("w")

def use(operation):
    fcntl.flock(LOCK, operation | fcntl.LOCK_NB)  # raises where another holds it for a use that differs
    time.sleep(0.05)
    fcntl.flock(LOCK, fcntl.LOCK_UN)

@pytest.mark.alone
@pytest.mark.parametrize("_", range(3))
def test_alone(_):
    use(fcntl.LOCK_EX)

@pytest.mark.parametrize("_", range(6))
def test_beside_others(_):
    use(fcntl.LOCK_SH)
"""
LEAVES = """
import subprocess

import pytest

@pytest.mark.parametrize("how", ["in_its_folder", "in_the_environment", "as_a_child"])
def test_leaves_a_process(tmp_path, how):
    options = {
        "in_its_folder": {"cwd": tmp_path, "env": {}},
        "in_the_environment": {"env": {"SPAWNED_INTO": str(tmp_path)}},
        "as_a_child": {},
    }
    command = ["/bin/sleep", str(60 + len(options) - list(options).index(how))]
    subprocess.Popen(command, start_new_session=True, **options[how])
"""


def session(folder, *sources, options=(), **environment):
    """Run pytest on test files with these sources, under our conftest, as a session of its own."""
    (folder / "conftest.py").write_text(CONFTEST)
    for i, source in enumerate(sources):
        (folder / f"test_{i}.py").write_text(source)
    markers = "".join(f"    {name}: x\n" for name in ("docker", "browser", "deep", "alone"))
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {TESTS}\nmarkers =\n{markers}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tmp'}", *options]
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("TAILRACE_REQUIRE", "PYTEST_"))}
    return subprocess.run(
        command, cwd=folder, env={**ours, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_skip_is_a_skip_where_nothing_is_required(tmp_path):
    """Without TAILRACE_REQUIRE, a missing part skips its tests."""
    done = session(tmp_path, SKIPS)
    assert (done.returncode, "2 skipped, 1 xfailed" in done.stdout) == (0, True)


@pytest.mark.parametrize(("required", "skipped"), [("docker", ["1"]), ("redis", ["1"]), ("docker redis", [])])
def test_a_skip_of_a_required_part_is_a_failure(tmp_path, required, skipped):
    """A part that TAILRACE_REQUIRE names, by marker or in the reason, fails its tests; an expected failure stays one.

    Without a Docker Engine the error comes before the test, with one the failure comes in it: never a skip.
    """
    done = session(tmp_path, SKIPS, TAILRACE_REQUIRE=required)
    assert (done.returncode, re.findall(r"(\d+) skipped", done.stdout)) == (1, skipped)


@pytest.mark.parametrize(("depth", "counts"), [("quick", "1 passed, 1 deselected"), ("full", "2 passed")])
def test_a_deep_test_runs_at_full_depth_only(tmp_path, depth, counts):
    """At quick depth a deep test is deselected, and counted as such: it is not a skip."""
    done = session(tmp_path, DEEP, TAILRACE_DEPTH=depth)
    assert (done.returncode, counts in done.stdout) == (0, True)


def test_the_summary_counts_the_deep_tests_of_all_workers_once(tmp_path):
    """Workers deselect the same tests, and the one summary counts them as one session does."""
    done = session(tmp_path, DEEP, DEEP, options=["-n2"], TAILRACE_DEPTH="quick")
    assert (done.returncode, "2 passed, 2 deselected" in done.stdout) == (0, True)


@pytest.mark.parametrize("workers", scaled(full=[0, 1, 2, 3], quick=[0, 2]))
def test_an_alone_test_never_runs_beside_another(tmp_path, workers):
    """Each alone test gets an exclusive lock at once, and the others share theirs, with any number of workers."""
    done = session(tmp_path, ALONE, ALONE, options=[f"-n{workers}"])
    assert (done.returncode, "18 passed" in done.stdout) == (0, True), done.stdout


def test_a_test_that_runs_beside_an_alone_one_would_be_noticed(tmp_path):
    """The check above can fail: without the marker two workers want different locks at the same time."""
    done = session(tmp_path, ALONE.replace("@pytest.mark.alone\n", "").replace("0.05", "0.3"), ALONE, options=["-n2"])
    assert (done.returncode, "BlockingIOError" in done.stdout) == (1, True)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_process_that_is_left_fails_the_session(tmp_path, workers):
    """A child, a process in a test's folder, one with our mark: each is named, ended, and an error."""
    done = session(tmp_path, LEAVES, options=[f"-n{workers}"])
    assert done.returncode == 1
    assert "the tests left these processes behind (ended now):" in done.stdout
    assert {"sleep 61", "sleep 62", "sleep 63"} <= set(re.findall(r"sleep \d+", done.stdout))


def test_a_session_that_leaves_nothing_passes(tmp_path):
    """Negative control: a session that leaves no process passes."""
    assert session(tmp_path, "def test_it():\n    pass\n").returncode == 0
