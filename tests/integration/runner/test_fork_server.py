"""Forked kernels are processes of their own, and end with the fork server."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tailrace.host import processes, waiting
from tailrace.runner import execution
from tailrace.runner.forking import KERNEL, REPORT, RUNBOOK, ForkedProcess, ForkServer, Preload, call
from tailrace.runner.kernel import Kernel

FACTS = """
import json, os, sys
loaded = "numpy" in sys.modules
import numpy
facts = {"session": os.getsid(0), "parent": os.getppid(), "mark": os.environ["MARK"], "random": numpy.random.rand(),
         "fresh": not hasattr(json, "touched"), "name": __name__, "loaded": loaded}
json.touched = True
open(os.environ["MARK"] + ".part", "w").write(json.dumps(facts))
os.rename(os.environ["MARK"] + ".part", os.environ["MARK"])
"""

Fork = Callable[..., ForkedProcess]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    """A fork server that imports the modules of a kernel, and numpy after its first fork."""
    preload = Preload((*KERNEL, "math", "os", "there_is_no_such_module"), later=("numpy",))
    server = ForkServer(tmp_path / "server.log", os.environ, preload)
    yield server
    server.close()


@pytest.fixture
def fork(server: ForkServer, tmp_path: Path) -> Iterator[Fork]:
    """Return a function that forks a kernel, which runs `code` when it starts; its MARK variable is its name."""
    forked = []

    def start(name: str, code: str) -> ForkedProcess:
        (tmp_path / f"{name}.log").touch()
        arguments = ["-f", str(tmp_path / f"{name}.json"), "--HistoryManager.enabled=False", "-c", code]
        environment = {**os.environ, "MARK": name, "IPYTHONDIR": str(tmp_path / "ipython")}
        forked.append(server.fork_kernel(arguments, environment, tmp_path, tmp_path / f"{name}.log"))
        return forked[-1]

    yield start
    for kernel in forked:
        kernel.send_signal(signal.SIGKILL)


def test_a_forked_kernel_shares_modules_and_nothing_else(server, fork, tmp_path):
    """Two kernels have sessions, environments and namespaces of their own."""
    kernels = [fork("first", FACTS), fork("second", FACTS)]
    assert waiting.until(lambda: all((tmp_path / name).exists() for name in ("first", "second")), 60)
    facts = [json.loads((tmp_path / name).read_text()) for name in ("first", "second")]
    assert [fact["session"] for fact in facts] == [kernel.pid for kernel in kernels]
    assert {fact["parent"] for fact in facts} == {server.pid}
    assert [fact["mark"] for fact in facts] == ["first", "second"]
    assert all(fact["fresh"] and fact["name"] == "__main__" for fact in facts)
    assert [fact["loaded"] for fact in facts] == [False, True]  # numpy is imported after the first fork


def test_forked_kernels_have_random_numbers_of_their_own(fork, tmp_path):
    """numpy's generator would repeat itself in each fork; so it is seeded anew."""
    names = ("zeroth", "first", "second")
    for name in names:
        fork(name, FACTS)
    assert waiting.until(lambda: all((tmp_path / name).exists() for name in names), 60)
    assert len({json.loads((tmp_path / name).read_text())["random"] for name in names}) == 3


@pytest.mark.parametrize(
    ("code", "status"), [("import os; os._exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL)]
)
def test_the_server_reports_how_a_kernel_ended(fork, code, status):
    """An exit code, or a signal as a negative number, as in `subprocess`."""
    kernel = fork("ends", code)
    assert waiting.until(lambda: kernel.poll() is not None, 60)
    assert kernel.poll() == kernel.wait() == status


def test_server_and_kernels_end_when_the_runner_is_killed(tmp_path):
    """The server sees its standard input closed, and the kernel sees its parent gone."""
    code = (
        "import os, time; from pathlib import Path; from tailrace.runner.forking import KERNEL, ForkServer, Preload\n"
        "server = ForkServer(Path('server.log'), os.environ, Preload(KERNEL))\n"
        "Path('kernel.log').touch()\n"
        "kernel = server.fork_kernel(['-f', 'kernel.json'], dict(os.environ), Path('.'), Path('kernel.log'))\n"
        "print(server.pid, kernel.pid, flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as runner:
        assert runner.stdout is not None
        pids = [int(pid) for pid in runner.stdout.readline().split()]
        assert len(pids) == 2
        assert all(processes.started(pid) for pid in pids)
        runner.kill()
    assert waiting.until(lambda: not any(processes.started(pid) for pid in pids), 60)


def test_without_its_server_a_kernel_is_a_new_interpreter(tmp_path, server):
    """A dead server slows a step down, and does not fail it."""
    os.kill(server.pid, signal.SIGKILL)
    notebook = tmp_path / "step.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("import sys; print(sys.argv)")]), notebook)
    job = execution.NotebookJob(notebook, tmp_path / "out.ipynb", {}, timeout_s=60)
    kernel = Kernel(tmp_path, tmp_path / "step.log", lambda session: None, server)
    assert execution.execute(job, kernel, lambda: False, lambda: None).status == "completed"


def test_a_server_that_hangs_is_given_up(tmp_path):
    """An import that never ends holds a step up for a bounded time; then the server is killed."""
    server = ForkServer(tmp_path / "server.log", os.environ, Preload(KERNEL), timeout_s=0.5)
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(ChildProcessError, match=r"did not answer within 0.5 s"):
        server.call(KERNEL[0], "main")
    assert waiting.until(lambda: processes.started(server.pid) is None, 5)
    server.close()


def test_the_preloaded_modules_depend_on_the_notebooks(tmp_path):
    """Large packages are imported for notebooks that use `tailrace.notebook`; none beside a step that measures."""
    sources = {"plain": "import json", "quiet": "from tailrace.notebook import begin", "loud": "step.run_load()"}
    for name, source in sources.items():
        (tmp_path / name).write_text(source)
    plain, quiet, loud = (tmp_path / name for name in sources)
    assert Preload.of([plain, loud]) == Preload(KERNEL)
    assert Preload.of([quiet, loud]) == Preload((*KERNEL, *RUNBOOK), later=REPORT)
    assert Preload.of([loud, quiet]) == Preload((*KERNEL, *RUNBOOK, *REPORT))


def test_every_preloaded_module_exists():
    """A module that was renamed would only cost time, silently."""
    assert [name for name in (*KERNEL, *RUNBOOK, *REPORT) if importlib.util.find_spec(name) is None] == []


def test_a_function_runs_in_a_fork_and_returns_or_raises(server):
    """Its value or its exception comes back, whatever it does to its own process."""
    assert call(server, "os", "getpid") not in (os.getpid(), server.pid)
    assert call(server, "math", "sqrt", 4.0) == 2.0
    with pytest.raises(ValueError, match="math domain error"):
        call(server, "math", "sqrt", -1.0)


def test_a_function_runs_here_when_it_cannot_run_in_a_fork(server):
    """Without a server, without the module in it, and after the death of the fork or of the server."""
    assert call(None, "os", "getpid") == os.getpid()
    assert call(server, "posix", "getpid") == os.getpid()
    with pytest.raises(ChildProcessError, match="ended with status 3"):
        server.call("os", "_exit", 3)
    os.kill(server.pid, signal.SIGKILL)
    assert call(server, "os", "getpid") == os.getpid()
