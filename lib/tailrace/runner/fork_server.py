"""The process that kernels are forked from: it has imported what notebooks import, so they need not.

Each kernel is a process of its own that leads its own session; it inherits modules as they are after their
import, and nothing else. The server is single-threaded and has no zmq context, no event loop and no shell.

Requests arrive on standard input and answers leave on standard output, one JSON line each:

    {"kernel": ["-f", "kernel.json"], "environment": {…}, "folder": "notebooks", "log": "01.log"}
    {"call": [module, function], "arguments": "<pickled>", "result": "<file for what it returns or raises, pickled>"}
    → {"pid": 4711}
    → {"pid": 4711, "status": -9}           when it has ended: exit code, or signal as a negative number

The server ends when its standard input is closed, which also happens when the runner is killed. Kernels notice
that their parent is gone, and end as well.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import gc
import importlib
import json
import os
import pickle
import selectors
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def main() -> None:
    """Import modules, then fork a process per request until standard input is closed.

    The arguments name modules to import before the first fork and, after `--later`, modules to import when the
    server is idle after it, at the latest before the second fork. A module that is not installed is left out.
    """
    if sys.path[0] in ("", str(Path.cwd())):
        del sys.path[0]  # a kernel puts its own folder there
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # a kernel would set it later
    answers = os.dup(1)
    os.dup2(2, 1)  # what an import prints is not an answer
    separator = sys.argv.index("--later")
    _import(sys.argv[1:separator])
    _serve(answers, sys.argv[separator + 1 :])
    os._exit(0)


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # forks share these pages as long as no garbage collection writes to them


def _serve(answers: int, later: list[str]) -> None:
    wakeup, signalled = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(signalled, False)
    signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    pending, has_forked = b"", False
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select(0 if has_forked and later else None)}
            if not ready:
                _import([later.pop(0)])
            if wakeup in ready:
                os.read(wakeup, 4096)
                _report_ended(answers)
            if 0 in ready:
                received = os.read(0, 1 << 20)
                if not received:
                    return
                *lines, pending = (pending + received).split(b"\n")
                for line in lines:
                    if has_forked:
                        _import(later)
                        later.clear()
                    _answer(answers, pid=_fork(json.loads(line), (answers, wakeup, signalled, selector.fileno())))
                    has_forked = True


def _fork(request: Mapping[str, Any], server_only: Sequence[int]) -> int:
    """Fork a process for the request and return its pid; it closes the descriptors `server_only`."""
    server = os.getpid()
    with warnings.catch_warnings():
        # Python warns of the threads of numpy and pyarrow; both libraries handle a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        while os.getsid(pid) != pid:  # whoever gets the pid may end the session at once
            time.sleep(0.0005)
        return pid
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in server_only:
            os.close(descriptor)
        _redirect(0, os.devnull, os.O_RDONLY)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()  # the standard library's `random` does this by itself
        status = _run_kernel(request, server) if "kernel" in request else _run_call(request)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _exit(status)
    raise AssertionError("unreachable")


def _run_kernel(request: Mapping[str, Any], server: int) -> int:
    """Become a kernel, and return its exit code when it has been shut down."""
    _redirect(1, request["log"], os.O_WRONLY | os.O_APPEND)
    os.dup2(1, 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["ipykernel_launcher", *request["kernel"]]
    from ipykernel.kernelapp import IPKernelApp

    try:
        IPKernelApp.launch_instance(sys.argv[1:], parent_handle=server)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        # It joins the control thread, which may be waiting for ever to write to the output thread, already closed.
        atexit.unregister(IPKernelApp.instance().close)
    return 0


def _run_call(request: Mapping[str, Any]) -> int:
    """Call the function, and write (True, what it returned) or (False, what it raised)."""
    os.dup2(2, 1)
    module, function = request["call"]
    arguments = pickle.loads(base64.b64decode(request["arguments"]))  # noqa: S301 # the runner wrote it
    try:
        answer = (True, getattr(sys.modules[module], function)(*arguments))
    except Exception as error:
        answer = (False, error)
    Path(request["result"]).write_bytes(_pickled(*answer))
    return 0


def _pickled(returned: bool, value: Any) -> bytes:
    """Return the answer as a pickle that can be read; an exception that cannot becomes a RuntimeError."""
    try:
        answer = pickle.dumps((returned, value))
        pickle.loads(answer)  # noqa: S301 # our own
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(value).__name__}: {value}")))
    return answer


def _redirect(descriptor: int, path: str, mode: int) -> None:
    opened = os.open(path, mode)
    os.dup2(opened, descriptor)
    os.close(opened)


def _exit(status: int) -> None:
    """Leave as the interpreter does, threads and exit handlers first, but do not take the modules apart."""
    with contextlib.suppress(Exception):
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
