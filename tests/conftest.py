"""Rules for all tests: depth, order, what may be skipped, and that no process outlives the session."""

import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

import disks
from depth import FULL
from tailrace.host import processes

ROOT = Path(__file__).parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SERVERS = Path(os.environ.get("TAILRACE_SERVERS", ROOT / ".tailrace" / "servers"))
MARK = "TAILRACE_TEST_SESSION"
DESELECTED = pytest.StashKey[int]()


@cache
def lacks_docker() -> str:
    """Say why Docker cannot be used here; "" when it can."""
    if shutil.which("docker") is None:
        return "no docker command on this machine"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=20, check=False)
    return "" if answer.returncode == 0 else "no Docker Engine answers; make engine starts one"


@cache
def lacks_browser() -> str:
    """Say why no browser can be used here; "" when one can."""
    return "" if any(map(shutil.which, BROWSERS)) else "no Chromium on this machine"


@cache
def lacks_servers() -> str:
    """Say which of the servers below `SERVERS` is not there; "" when none is missing."""
    missing = [name for name in ("litellm/.ready", "llama.cpp/.ready", "tiny.gguf") if not (SERVERS / name).exists()]
    return f"servers: no {', '.join(missing)} in {SERVERS}; make servers brings them" if missing else ""


PARTS = {"docker": lacks_docker, "browser": lacks_browser, "servers": lacks_servers, "tmpfs": cache(disks.lacks_tmpfs)}

# No example has a deadline, and no strategy is too slow: a busy machine is not a defect.
settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("full", settings.get_profile("quick"), max_examples=200, print_blob=True)
settings.load_profile("full" if FULL else "quick")


def pytest_configure() -> None:
    """Restore Ctrl-C for what the tests start: a script that runs them in the background has it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the deep tests to full depth, and run the quick ones first: unit, notebooks, then what starts servers."""
    if deep := [] if FULL else [item for item in items if item.get_closest_marker("deep")]:
        config.hook.pytest_deselected(items=deep)
        items[:] = [item for item in items if not item.get_closest_marker("deep")]
    quick = [ROOT / "tests" / "unit", ROOT / "tests" / "notebooks"]
    items.sort(key=lambda item: [_group(item) == "alone", *(not item.path.is_relative_to(folder) for folder in quick)])


def _group(item: pytest.Item) -> str:
    """Return the marker that decides with which tests, or beside none, this one runs; "" for the tests of its file."""
    return next((name for name in ("alone", "docker") if item.get_closest_marker(name)), "")


@pytest.hookimpl(wrapper=True)
def pytest_collection_finish(session: pytest.Session) -> Iterator[None]:
    """Add each test's group to the id that xdist sends to its scheduler, which gets to know nothing but ids."""
    items = session.items
    if hasattr(session.config, "workerinput"):
        session.items = [SimpleNamespace(nodeid="@".join(filter(None, (item.nodeid, _group(item))))) for item in items]
    result = yield
    session.items = items
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Let xdist run file by file, in the order of collection, and the groups of tests as scheduling.py says."""
    from scheduling import GroupScheduling  # here: pytest runs without xdist, too

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Count in the summary what the workers deselected: all of them deselect the same tests."""
    reporter = node.config.pluginmanager.get_plugin("terminalreporter")
    reporter.stats["deselected"] = [SimpleNamespace()] * getattr(node, "workeroutput", {}).get("deselected", 0)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the controller of xdist how many tests this worker deselected."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = session.config.stash.get(DESELECTED, 0)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count the tests that are left out: by depth, by -k or by -m."""
    if items:
        stash = items[0].config.stash
        stash[DESELECTED] = stash.get(DESELECTED, 0) + len(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose part this machine lacks, for a stated reason."""
    for part, lacks in PARTS.items():
        if item.get_closest_marker(part) and (reason := lacks()):
            pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Turn a skip into a failure when TAILRACE_REQUIRE ("docker redis tmpfs" …) names the missing part."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2]
        marks = {marker.name for marker in item.iter_markers()}
        if named := [
            part for part in os.environ.get("TAILRACE_REQUIRE", "").split() if part in marks or part in reason
        ]:
            report.outcome = "failed"
            report.longrepr = f"{reason}; but TAILRACE_REQUIRE names {', '.join(named)}"
    return report


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the folder of the project."""
    return ROOT


@pytest.fixture
def small_disk() -> Iterator[Callable[..., Path]]:
    """Return a function that mounts a small disk at a folder, as `disks.mount` does, until the test has ended."""
    folders: list[Path] = []

    def mount(folder: Path, size: str = "2m") -> Path:
        folders.append(disks.mount(folder, size))
        return folder

    yield mount
    for folder in folders:
        disks.unmount(folder)


@pytest.fixture(scope="session")
def ended() -> Callable[[Iterable[subprocess.Popen]], None]:
    """Return a function that kills the process groups which still run, and closes the pipes of all."""

    def end(processes: Iterable[subprocess.Popen]) -> None:
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            with process:
                pass

    return end


@pytest.fixture(scope="session")
def servers() -> Path:
    """Return the folder of the servers that `make servers` makes."""
    return SERVERS


@pytest.fixture(scope="session")
def browser() -> str:
    """Return the path of a Chromium."""
    return next(path for name in BROWSERS if (path := shutil.which(name)))


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """Give back the umask: the command line, called in the test's own process, keeps what it writes for its user."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail when a process outlives the session: a child, or one with our mark or in our temporary folders."""
    os.environ[MARK] = mark = uuid.uuid4().hex
    yield
    left = [process for process in psutil.process_iter() if _ours(process, mark, str(tmp_path_factory.getbasetemp()))]
    _, left = psutil.wait_procs(left, timeout=5)
    lines = [f"{process.pid} {' '.join(_answer(process.cmdline, []))[:200]}" for process in left]
    for process in left:
        _answer(process.kill, None)
    assert not lines, "the tests left these processes behind (ended now):\n" + "\n".join(lines)


def _ours(process: psutil.Process, mark: str, folder: str) -> bool:
    command = " ".join(_answer(process.cmdline, []))
    if process.pid == os.getpid() or "multiprocessing.resource_tracker" in command:
        return False
    if _answer(process.ppid, 0) == os.getpid() or folder in command:
        return True
    environment = _answer(process.environ, {})
    places = (_answer(process.cwd, ""), environment.get(processes.MARK, ""))
    return any(f"{place}/".startswith(f"{folder}/") for place in places) or environment.get(MARK) == mark


def _answer(query, otherwise):
    """Return what `query` of a process returns, or `otherwise` when the process is gone or another user's."""
    try:
        return query()
    except (psutil.Error, OSError):
        return otherwise
