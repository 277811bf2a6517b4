"""One notebook through papermill, under a hard limit: how it ended, as seen from outside of it.

papermill runs in a thread of this process. The caller's thread stays free to look at the clock, at signals and
at the events that the notebook writes; it ends a notebook by ending its kernel.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tailrace.runner.kernel import Kernel

TICK_S = 0.1


@dataclass(frozen=True)
class Job:
    """What to execute, and where the executed copy goes; the notebook runs in its own folder."""

    notebook: Path
    output: Path
    parameters: Mapping[str, Any]
    timeout_s: float


@dataclass(frozen=True)
class Ended:
    """How a notebook ended; what it found is in its results."""

    how: Literal["done", "error", "dead", "timeout", "interrupted"]
    reason: str = ""
    error: str = ""
    """Name of the exception that a cell raised."""


def execute(job: Job, kernel: Kernel, interrupted: Callable[[], bool], tick: Callable[[], None]) -> Ended:
    """Execute the notebook and return how it ended; `tick` is called about ten times a second meanwhile."""
    failures: list[BaseException] = []
    thread = threading.Thread(target=_papermill, args=(job, kernel, failures), name=job.notebook.stem, daemon=True)
    deadline = time.monotonic() + job.timeout_s
    thread.start()
    ended: Ended | None = None
    while thread.is_alive() and ended is None:
        thread.join(TICK_S)
        tick()
        if interrupted():
            ended = Ended("interrupted", "interrupted")
        elif time.monotonic() > deadline:
            ended = Ended("timeout", f"StepTimeout: not done after {job.timeout_s:g} s, its hard limit; it was ended")
    if ended is not None:
        kernel.stop()
        thread.join(30)
    kernel.close()
    tick()
    return ended or (_explained(failures[0], kernel) if failures else Ended("done"))


def _papermill(job: Job, kernel: Kernel, failures: list[BaseException]) -> None:
    import papermill
    from jupyter_core.utils import ensure_event_loop

    # Its log lines say less than our events, and would tear the display.
    logging.getLogger("papermill").propagate = False
    logging.getLogger("papermill").addHandler(logging.NullHandler())
    try:
        papermill.execute_notebook(
            str(job.notebook),
            str(job.output),
            parameters=dict(job.parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            log_output=False,
            kernel_manager_class=kernel.manager,
            resources={"metadata": {"path": str(job.notebook.parent)}},
        )
    except BaseException as error:  # the thread's end is told to the caller, whatever it was
        failures.append(error)
    finally:
        ensure_event_loop().close()  # nbclient made it for this thread, and leaves it open


def _explained(error: BaseException, kernel: Kernel) -> Ended:
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    if isinstance(error, DeadKernelError) or "Kernel died" in str(error):
        code = kernel.ended_by
        how = "" if code is None else f" by signal {-code}" if code < 0 else f" with exit code {code}"
        return Ended("dead", f"its kernel died{how}{_last_words(kernel.log)}")
    if isinstance(error, PapermillExecutionError):
        return Ended("error", f"cell {error.cell_index + 1}: {error.ename}: {_plain(error.evalue)}", error.ename)
    return Ended("error", f"{type(error).__name__}: {_plain(str(error))}")


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
    return f"; last line of {log.name}: {_plain(lines[-1])}" if lines else ""


def _plain(text: str) -> str:
    """One line without terminal colours, of readable length."""
    line = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    return line if len(line) <= 500 else line[:499] + "…"
