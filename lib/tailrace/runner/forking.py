"""The runner's side of the fork server: start it, fork a kernel from it, run a function in a fork of it."""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

from tailrace.host import files, processes

LATER = "--later"
"""Separates the arguments of the fork server: modules to import first, and modules to import later."""
POLL_S = 0.02
LOOK_S = 0.25
CLOSE_S = 0.2
FORK_TIMEOUT_S = 60.0

KERNEL = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
)
"""Every kernel imports these when it starts."""
RUNBOOK = (
    "pandas",
    "pyarrow.parquet",
    "tailrace.checks",
    "tailrace.notebook.step",
    "tailrace.report.tables",
    "tailrace.testbed.stack",
)
"""Notebooks that use `tailrace.notebook` import these in their first cells."""
REPORT = (
    "matplotlib.figure",
    "openai",
    "pyarrow.dataset",
    "tailrace.report.baseline",
    "tailrace.report.catalogue",
    "tailrace.report.index",
    "tailrace.report.page",
    "tailrace.run.leaks",
)
"""Later cells, and the report of the run, import these."""
MEASURES = (b"run_load", b"find_capacity", b"watch(")
"""A notebook with one of these words measures time, and nothing must compete with it for the processor."""


@dataclass(frozen=True)
class Preload:
    """The modules that a fork server imports: `first` before its first fork, `later` while the first step runs."""

    first: tuple[str, ...]
    later: tuple[str, ...] = ()

    @classmethod
    def of(cls, notebooks: Sequence[Path]) -> Self:
        """Return the modules to import for these notebooks. Only a first step that measures nothing has company."""
        sources = [notebook.read_bytes() for notebook in notebooks]
        if not any(b"tailrace.notebook" in source for source in sources):
            return cls(KERNEL)
        if any(word in sources[0] for word in MEASURES):
            return cls((*KERNEL, *RUNBOOK, *REPORT))
        return cls((*KERNEL, *RUNBOOK), REPORT)


def state_folder(root: Path) -> Path:
    """Create and return the folder for connection files and IPython's own files."""
    folder = root / ".tailrace" / "kernels"
    return files.make_folder(folder)


def environment(state: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a kernel: the inherited one, without the user's start-up files and history."""
    return {**inherited, "IPYTHONDIR": str(state / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


class Cut(Exception):
    """The call was ended before it was done."""


def never() -> bool:
    """Return False: nothing cuts the call."""
    return False


def call(
    server: ForkServer | None, module: str, function: str, *arguments: Any, cut: Callable[[], bool] = never
) -> Any:
    """Call a function in a fork of the server, which spares the imports, or here when that is not possible.

    Raises Cut when `cut` returns True before the end.
    """
    if cut():
        raise Cut
    if server is not None:
        with contextlib.suppress(ChildProcessError):
            return server.call(module, function, *arguments, cut=cut)
    with _cuttable(cut):
        return getattr(importlib.import_module(module), function)(*arguments)


@contextlib.contextmanager
def _cuttable(cut: Callable[[], bool]) -> Iterator[None]:
    """Raise Cut in the main thread, which has the signals, as soon as `cut` returns True."""

    def look(number: int, frame: FrameType | None) -> None:
        if cut():
            raise Cut

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_S, LOOK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class ForkedProcess:
    """A fork of the server, with the part of `subprocess.Popen` that Jupyter uses."""

    server: ForkServer
    pid: int
    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return self.server.status(self.pid)

    def wait(self) -> int:
        """Wait for the end of the process; return its exit code, or its signal as a negative number."""
        while (status := self.poll()) is None:
            time.sleep(POLL_S)
        return status

    def wait_unless(self, cut: Callable[[], bool]) -> int:
        """Wait as `wait` does; when `cut` returns True, or anything is raised here, kill the process; raise Cut."""
        try:
            while (status := self.poll()) is None:
                if cut():
                    raise Cut
                time.sleep(POLL_S)
        except BaseException:
            self.send_signal(signal.SIGKILL)
            raise
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkServer:
    """A running fork server. It imports from its start on; a fork waits until that is done, at most `timeout_s`."""

    def __init__(
        self, log: Path, environment: Mapping[str, str], preload: Preload, timeout_s: float = FORK_TIMEOUT_S
    ) -> None:
        self.log = log
        self.timeout_s = timeout_s
        self.preload = preload
        self._lock = threading.Lock()
        self._pending = b""
        self._forked: list[int] = []
        self._statuses: dict[int, int] = {}
        module = "tailrace.runner.fork_server"
        with open(log, "ab", opener=files.private) as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *preload.first, LATER, *preload.later], env=dict(environment),
                start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork_kernel(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> ForkedProcess:
        """Start a kernel with these arguments of ipykernel; raise ChildProcessError when the server has ended."""
        options = {"environment": environment, "folder": str(folder), "log": str(log.resolve())}
        return self._fork(kernel=list(arguments), **options)

    def call(self, module: str, function: str, *arguments: Any, cut: Callable[[], bool] = never) -> Any:
        """Return what a function of a preloaded module returns in a forked process, or raise what it raises there.

        Kill it, and raise Cut, when `cut` returns True; kill it also when this process is interrupted.
        Raise ChildProcessError when the module is not preloaded, or when the process or the server dies or hangs.
        """
        if module not in (*self.preload.first, *self.preload.later):
            raise ChildProcessError(f"the fork server has not imported {module}")
        result = self.log.with_name(f".{self.log.stem}-result").resolve()
        pickled = base64.b64encode(pickle.dumps(arguments)).decode()
        try:
            process = self._fork(call=[module, function], arguments=pickled, result=str(result))
            if (status := process.wait_unless(cut)) or not result.exists():
                raise ChildProcessError(f"{module}.{function} ended with status {status}; see {self.log}")
            returned, value = pickle.loads(result.read_bytes())  # noqa: S301 # our own child wrote it
        finally:
            result.unlink(missing_ok=True)
        if not returned:
            raise value
        return value

    def status(self, pid: int) -> int | None:
        """Return the exit code of a fork, or its signal as a negative number; None while it runs."""
        with self._lock, contextlib.suppress(ChildProcessError):
            while pid not in self._statuses and self._has_answer(0):
                self._receive()
        if pid in self._statuses or self._process.poll() is None or processes.started(pid):
            return self._statuses.get(pid)
        return 1  # the server has died, and nobody waited for this process

    def close(self) -> None:
        """End the server, and remove an empty log."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:  # it is still importing
            self._process.kill()
            self._process.wait()
        if self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()

    def _fork(self, **request: Any) -> ForkedProcess:
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
            except BrokenPipeError:
                raise ChildProcessError(f"the fork server has ended; see {self.log}") from None
            deadline = time.monotonic() + self.timeout_s
            while not self._forked:
                if not self._has_answer(max(0.0, deadline - time.monotonic())):
                    self._process.kill()  # a late answer would be taken for that to the next request
                    raise ChildProcessError(f"the fork server did not answer within {self.timeout_s:g} s")
                self._receive()
            return ForkedProcess(self, self._forked.pop())

    def _has_answer(self, timeout_s: float) -> bool:
        assert self._process.stdout is not None
        return bool(select.select([self._process.stdout], [], [], timeout_s)[0])

    def _receive(self) -> None:
        """Wait for answers of the server, and keep them."""
        assert self._process.stdout is not None
        received = self._process.stdout.read(65_536)
        if not received:
            raise ChildProcessError(f"the fork server has ended; see {self.log}")
        *lines, self._pending = (self._pending + received).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if "status" in answer:
                self._statuses[answer["pid"]] = answer["status"]
            else:
                self._forked.append(answer["pid"])
