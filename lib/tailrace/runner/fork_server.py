"""The process that kernels are forked from: it has imported what notebooks import, so a kernel starts in no time.

Each kernel is a process of its own, with the modules as they are after import, and leads its own session. The
server is single-threaded and has no zmq context, no event loop and no IPython shell, so none is inherited.

Requests arrive on standard input, answers leave on standard output, one JSON line each:

    {"arguments": ["-f", "kernel.json"], "environment": {…}, "folder": "notebooks", "log": "01.log"}
    → {"pid": 4711}
    → {"pid": 4711, "status": -9}           later, when it has ended: exit code, or signal as a negative number

The server ends when its standard input is closed, also when the runner was killed; its kernels notice that their
parent is gone, and end as well.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn


def main() -> None:
    """Import the modules that the arguments name, then fork a kernel for each request until standard input is closed.

    A module that is not installed is left out.
    """
    if sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # the kernel puts its own folder there
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as a kernel does, at its start
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever an import prints is no answer
    for module in sys.argv[1:]:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # the kernels share these pages: a collection in one of them must not touch them all
    _serve(answers)
    os._exit(0)  # nothing of this process is worth taking apart


def _serve(answers: int) -> None:
    wakeup, signalled = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wakeup in ready:
                os.read(wakeup, 4096)
                _report_ended(answers)
            if 0 in ready:
                received = os.read(0, 1 << 20)
                if not received:
                    return
                *lines, pending = (pending + received).split(b"\n")
                for line in lines:
                    _answer(answers, pid=_fork(json.loads(line), (answers, wakeup, signalled, selector.fileno())))


def _fork(request: Mapping[str, Any], own: Sequence[int]) -> int:
    """Fork a kernel and return its pid; `own` are descriptors that only the server has."""
    server = os.getpid()
    with warnings.catch_warnings():
        # numpy's and pyarrow's threads: both libraries stop them before a fork, and start them again.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in own:
            os.close(descriptor)
        _become_kernel(request, server)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def _become_kernel(request: Mapping[str, Any], server: int) -> NoReturn:
    os.setsid()
    for target, path, mode in ((0, os.devnull, os.O_RDONLY), (1, request["log"], os.O_WRONLY | os.O_APPEND)):
        opened = os.open(path, mode)
        os.dup2(opened, target)
        os.close(opened)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["ipykernel_launcher", *request["arguments"]]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()  # as for the standard library's `random`, which does this by itself
    from ipykernel.kernelapp import IPKernelApp

    status = 0
    try:
        IPKernelApp.launch_instance(sys.argv[1:], parent_handle=server)
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
    _exit(status)


def _exit(status: int) -> NoReturn:
    """Leave as an interpreter does, threads and exit handlers first, but without taking its modules apart."""
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads that are not daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _report_ended(answers: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _answer(answers, pid=ended[0], status=os.waitstatus_to_exitcode(ended[1]))


def _answer(answers: int, **fields: int) -> None:
    os.write(answers, json.dumps(fields).encode() + b"\n")


if __name__ == "__main__":
    main()
