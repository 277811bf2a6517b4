"""Kernels that are forked: each is a process of its own, and ends with what it was forked from."""

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
from tailrace.runner.kernel import Kernel
from tailrace.runner.provisioner import KERNEL, ForkedKernel, ForkServer, preloaded

REPORT = """
import json, os, numpy
facts = {"session": os.getsid(0), "parent": os.getppid(), "mark": os.environ["MARK"], "random": numpy.random.rand(),
         "fresh": not hasattr(json, "touched"), "name": __name__}
json.touched = True
open(os.environ["MARK"] + ".part", "w").write(json.dumps(facts))
os.rename(os.environ["MARK"] + ".part", os.environ["MARK"])
"""

Fork = Callable[..., ForkedKernel]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForkServer]:
    """A fork server that has imported what a kernel needs, and numpy."""
    made = ForkServer(tmp_path / "server.log", os.environ, [*KERNEL, "numpy", "there_is_no_such_module"])
    yield made
    made.close()


@pytest.fixture
def fork(server: ForkServer, tmp_path: Path) -> Iterator[Fork]:
    """Return what forks a kernel that runs `code` at its start; its environment has its name as MARK."""
    forked = []

    def start(name: str, code: str) -> ForkedKernel:
        (tmp_path / f"{name}.log").touch()
        arguments = ["-f", str(tmp_path / f"{name}.json"), "--HistoryManager.enabled=False", "-c", code]
        environment = {**os.environ, "MARK": name, "IPYTHONDIR": str(tmp_path / "ipython")}
        forked.append(server.fork(arguments, environment, str(tmp_path), tmp_path / f"{name}.log"))
        return forked[-1]

    yield start
    for kernel in forked:
        kernel.send_signal(signal.SIGKILL)


def test_a_forked_kernel_shares_modules_and_nothing_else(server, fork, tmp_path):
    """Two kernels have sessions, environments, namespaces and random numbers of their own."""
    kernels = [fork("first", REPORT), fork("second", REPORT)]
    assert waiting.until(lambda: all((tmp_path / name).exists() for name in ("first", "second")), 20)
    facts = [json.loads((tmp_path / name).read_text()) for name in ("first", "second")]
    assert [fact["session"] for fact in facts] == [kernel.pid for kernel in kernels]
    assert {fact["parent"] for fact in facts} == {server.pid}
    assert [fact["mark"] for fact in facts] == ["first", "second"]
    assert all(fact["fresh"] and fact["name"] == "__main__" for fact in facts)
    assert facts[0]["random"] != facts[1]["random"]


@pytest.mark.parametrize(
    ("code", "status"), [("import os; os._exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -signal.SIGKILL)]
)
def test_the_server_tells_how_a_kernel_ended(fork, code, status):
    """An exit code, or a signal as a negative number, as `subprocess` has it."""
    kernel = fork("ends", code)
    assert waiting.until(lambda: kernel.poll() is not None, 20)
    assert kernel.poll() == kernel.wait() == status


def test_server_and_kernels_end_when_who_started_them_is_killed(tmp_path):
    """After SIGKILL to the starter, the server sees its input closed, and the kernel sees its parent gone."""
    code = (
        "import os, pathlib, time; from tailrace.runner.provisioner import KERNEL, ForkServer\n"
        "server = ForkServer(pathlib.Path('server.log'), os.environ, KERNEL)\n"
        "pathlib.Path('kernel.log').touch()\n"
        "kernel = server.fork(['-f', 'kernel.json'], dict(os.environ), '.', pathlib.Path('kernel.log'))\n"
        "print(server.pid, kernel.pid, flush=True); time.sleep(300)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        assert len(pids) == 2
        assert all(processes.started(pid) for pid in pids)
        starter.kill()
    assert waiting.until(lambda: not any(processes.started(pid) for pid in pids), 10)


def test_without_its_server_a_kernel_is_a_fresh_interpreter(tmp_path, server):
    """A server that has died costs time, and no step."""
    os.kill(server.pid, signal.SIGKILL)
    notebook = tmp_path / "step.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("import sys; print(sys.argv)")]), notebook)
    job = execution.Job(notebook, tmp_path / "out.ipynb", {}, timeout_s=60)
    kernel = Kernel(tmp_path, tmp_path / "step.log", lambda started: None, server)
    assert execution.execute(job, kernel, lambda: False, lambda: None).how == "done"


def test_what_is_imported_ahead_depends_on_the_notebooks(tmp_path):
    """pandas and the like are only imported for notebooks that use `tailrace.notebook`."""
    plain, runbook = tmp_path / "plain.ipynb", tmp_path / "runbook.ipynb"
    plain.write_text('{"source": "import json"}')
    runbook.write_text('{"source": "from tailrace.notebook import begin"}')
    assert preloaded([plain]) == KERNEL
    assert "pandas" in preloaded([plain, runbook])
