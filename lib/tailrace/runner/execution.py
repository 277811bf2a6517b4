"""Execute one notebook with papermill under a hard limit, and say how that ended.

papermill runs in a thread. The caller's thread stays free to watch the clock, signals and the events that the
notebook writes; it stops a notebook by ending its kernel.
"""

from __future__ import annotations

import codecs
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailrace.host import files

if TYPE_CHECKING:
    from tailrace.runner.kernel import Kernel

TICK_S = 0.1


@dataclass(frozen=True)
class NotebookJob:
    """A notebook to execute, in its own folder, and the path of the executed copy."""

    notebook: Path
    output: Path
    parameters: Mapping[str, Any]
    timeout_s: float


@dataclass(frozen=True)
class ExecutionResult:
    """How the execution of a notebook ended; its checks are in the result of the step."""

    status: Literal["completed", "error", "kernel died", "timeout", "interrupted"]
    reason: str = ""
    exception: str = ""
    """Name of the exception that a cell raised."""


def execute(
    job: NotebookJob, kernel: Kernel, interrupted: Callable[[], bool], tick: Callable[[], None]
) -> ExecutionResult:
    """Execute the notebook and return how it ended; call `tick` about ten times a second meanwhile."""
    failures: list[BaseException] = []
    thread = threading.Thread(target=_run_papermill, args=(job, kernel, failures), name=job.notebook.stem, daemon=True)
    deadline = time.monotonic() + job.timeout_s
    thread.start()
    try:
        stopped = _follow(thread, job, deadline, interrupted, tick)
    except BaseException:  # a second signal, or a disk that is full
        kernel.stop()
        kernel.close()
        raise
    if stopped is not None:
        kernel.stop()
        thread.join(30)
    kernel.close()
    tick()
    return stopped or (_explain(failures[0], kernel) if failures else ExecutionResult("completed"))


def _follow(
    thread: threading.Thread,
    job: NotebookJob,
    deadline: float,
    interrupted: Callable[[], bool],
    tick: Callable[[], None],
) -> ExecutionResult | None:
    """Wait for the thread; return why it has to be stopped, None when it has ended."""
    stopped: ExecutionResult | None = None
    while thread.is_alive() and stopped is None:
        thread.join(TICK_S)
        tick()
        if interrupted():
            stopped = ExecutionResult("interrupted", "interrupted")
        elif time.monotonic() > deadline:
            reason = f"StepTimeout: not done after {job.timeout_s:g} s, its hard limit; its kernel was ended"
            stopped = ExecutionResult("timeout", reason)
    return stopped


def _run_papermill(job: NotebookJob, kernel: Kernel, failures: list[BaseException]) -> None:
    import papermill
    from jupyter_core.utils import ensure_event_loop

    # Its log says less than our events, and would tear the display.
    logging.getLogger("papermill").propagate = False
    logging.getLogger("papermill").addHandler(logging.NullHandler())
    plain = job.output.with_name(f".source-{job.output.name}")
    try:
        papermill.execute_notebook(
            str(_plain(job.notebook, plain)),
            str(job.output),
            parameters=dict(job.parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            kernel_manager_class=kernel.manager,
            resources={"metadata": {"path": str(job.notebook.parent)}},
        )
    except BaseException as error:  # a thread cannot raise to its caller
        failures.append(error)
    finally:
        plain.unlink(missing_ok=True)
        ensure_event_loop().close()  # nbclient created it for this thread and leaves it open


def _plain(notebook: Path, copy: Path) -> Path:
    """Return the notebook or, where papermill cannot read it, a copy that it can.

    Editors write a byte order mark, and converters write cells without metadata; neither means anything.
    """
    content = notebook.read_bytes()
    document = json.loads(content.decode("utf-8-sig"))
    bare = [cell for cell in document["cells"] if not isinstance(cell.get("metadata"), dict)]
    if not bare and not content.startswith(codecs.BOM_UTF8):
        return notebook
    for cell in bare:
        cell["metadata"] = {}
    files.replace(copy, json.dumps(document))
    return copy


def _explain(error: BaseException, kernel: Kernel) -> ExecutionResult:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, DeadKernelError) or "Kernel died" in str(error):
        status = kernel.exit_status
        how = "" if status is None else f" by signal {-status}" if status < 0 else f" with exit code {status}"
        return ExecutionResult("kernel died", f"its kernel died{how}{_last_line(kernel.log)}")
    if isinstance(error, PapermillExecutionError):
        reason = f"cell {error.cell_index + 1}: {error.ename}: {_one_line(error.evalue)}"
        return ExecutionResult("error", reason, error.ename)
    return ExecutionResult("error", f"{type(error).__name__}: {_one_line(str(error))}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return f"; last line of {log.name}: {_one_line(lines[-1])}" if lines else ""


def _one_line(text: str) -> str:
    """Return `text` as one line of readable length without terminal colours."""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return line if len(line) <= 500 else line[:499] + "…"
