"""What the tests themselves promise: a required part is not skipped, and a process that is left is found."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
LEAVES = """
import subprocess

def test_leaves_a_process(tmp_path):
    subprocess.Popen(["sleep", "60"], start_new_session=True, {how})
"""


def session(folder, source, **environment):
    """Run pytest on `source` under our conftest, as a session of its own."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(source)
    (folder / "pytest.ini").write_text(
        f"[pytest]\npythonpath = {TESTS}\nmarkers =\n    docker: x\n    browser: x\n    deep: x\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder / 'tmp'}",
        str(folder),
    ]
    inherited = {k: v for k, v in os.environ.items() if k not in {"TAILRACE_REQUIRE", "PYTEST_ADDOPTS"}}
    return subprocess.run(
        command, cwd=folder, env={**inherited, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_skip_is_a_skip_where_nothing_is_required(tmp_path):
    """Without TAILRACE_REQUIRE a machine may lack a part."""
    done = session(tmp_path, SKIPS)
    assert (done.returncode, "2 skipped, 1 xfailed" in done.stdout) == (0, True)


@pytest.mark.parametrize(("required", "skipped"), [("docker", ["1"]), ("redis", ["1"]), ("docker redis", [])])
def test_a_skip_of_a_required_part_is_a_failure(tmp_path, required, skipped):
    """What TAILRACE_REQUIRE names, by marker or in the reason, has to run; an expected failure is none of it.

    Where no engine answers it is an error before the test, where one does a failure in it: never a skip.
    """
    done = session(tmp_path, SKIPS, TAILRACE_REQUIRE=required)
    assert (done.returncode, re.findall(r"(\d+) skipped", done.stdout)) == (1, skipped)


@pytest.mark.parametrize(("depth", "counts"), [("quick", "1 passed, 1 deselected"), ("full", "2 passed")])
def test_a_deep_test_runs_at_full_depth_only(tmp_path, depth, counts):
    """At quick depth a deep test is deselected, and counted as such: it is not a skip."""
    done = session(tmp_path, DEEP, TAILRACE_DEPTH=depth)
    assert (done.returncode, counts in done.stdout) == (0, True)


@pytest.mark.parametrize("how", ["cwd=tmp_path", "env={'PATH': '/usr/bin:/bin', 'SPAWNED_INTO': str(tmp_path)}", ""])
def test_a_process_that_is_left_fails_the_session(tmp_path, how):
    """A child, a process in a test's folder, one with our mark: each is named, ended, and an error."""
    done = session(tmp_path, LEAVES.replace("{how}", how))
    assert done.returncode == 1
    assert "the tests left these processes behind (ended now):" in done.stdout
    assert "sleep 60" in done.stdout


def test_a_session_that_leaves_nothing_passes(tmp_path):
    """The check above can pass."""
    assert session(tmp_path, "def test_it():\n    pass\n").returncode == 0
