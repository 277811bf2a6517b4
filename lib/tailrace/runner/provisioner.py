"""Starts kernels by forking them from the fork server, as a provisioner of Jupyter's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from tailrace.host import processes

CLOSE_S = 0.2
KERNEL = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "tornado.platform.asyncio",
)
"""What every kernel imports at its start."""
RUNBOOK = (
    "pandas",
    "pyarrow.parquet",
    "matplotlib.figure",
    "openai",
    "tailrace.analysis",
    "tailrace.checks",
    "tailrace.load",
    "tailrace.notebook.step",
    "tailrace.report.catalogue",
    "tailrace.report.tables",
    "tailrace.testbed.stack",
)
"""What takes long to import in a notebook that uses `tailrace.notebook`."""


def preloaded(notebooks: Iterable[Path]) -> tuple[str, ...]:
    """Return the modules that a fork server imports ahead of these notebooks."""
    is_runbook = any(b"tailrace.notebook" in notebook.read_bytes() for notebook in notebooks)
    return (*KERNEL, *RUNBOOK) if is_runbook else KERNEL


class ForkServer:
    """A running fork server. It imports from the moment it is started; the first fork waits for that."""

    def __init__(self, log: Path, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        self.log = log
        self._lock = threading.Lock()
        self._pending = b""
        self._forked: list[int] = []
        self._statuses: dict[int, int] = {}
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tailrace.runner.fork_server", *modules], env=dict(environment),
                start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str, log: Path) -> ForkedKernel:
        """Start a kernel with these arguments and return it; ChildProcessError when the server has ended."""
        request = {"arguments": arguments, "environment": environment, "folder": folder, "log": str(log.resolve())}
        assert self._process.stdin is not None
        with self._lock:
            try:
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
            except BrokenPipeError:
                raise ChildProcessError(f"the fork server has ended; see {self.log}") from None
            while not self._forked:
                self._receive()
            return ForkedKernel(self, self._forked.pop())

    def status(self, pid: int) -> int | None:
        """Return how a kernel ended: its exit code, or its signal as a negative number; None while it runs."""
        with self._lock, contextlib.suppress(ChildProcessError):
            assert self._process.stdout is not None
            while pid not in self._statuses and select.select([self._process.stdout], [], [], 0)[0]:
                self._receive()
        if pid in self._statuses or self._process.poll() is None or processes.started(pid):
            return self._statuses.get(pid)
        return 1  # no one has waited for it: with the server gone it has ended itself

    def close(self) -> None:
        """End the server; its log is removed when it is empty."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:  # it is still importing
            self._process.kill()
            self._process.wait()
        if not self.log.stat().st_size:
            self.log.unlink()

    def _receive(self) -> None:
        """Wait for answers and keep what they say."""
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


class ForkedKernel:
    """A forked kernel as Jupyter sees it: the part of `subprocess.Popen` that a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.server = server
        self.pid = pid

    def poll(self) -> int | None:
        return self.server.status(self.pid)

    def wait(self) -> int | None:
        """Return the status of a kernel that has ended."""
        return self.poll()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class ForkingProvisioner(LocalProvisioner):
    """Forks the kernel where there is a fork server that can, and starts a fresh interpreter where there is none."""

    server: ForkServer | None = None
    log: Path

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        if self.server is not None:
            arguments = cmd[cmd.index("-f") :]
            environment, folder = options["env"], str(options.get("cwd") or Path.cwd())
            with contextlib.suppress(ChildProcessError):
                kernel = await asyncio.to_thread(self.server.fork, arguments, environment, folder, self.log)
                self.process = kernel  # type: ignore[assignment] # all of Popen that is used here
                self.pid = self.pgid = kernel.pid
                self.cwd = Path(folder)
                return self.connection_info
        return await super().launch_kernel(cmd, **options)
