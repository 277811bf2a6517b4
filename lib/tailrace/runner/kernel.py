"""The kernel that executes one notebook: our own interpreter, in a session of its own, which can be ended whole.

A kernel that gets SIGTERM leaves its children behind. It leads its own session, so what has to end is that
session. Whatever left the session on purpose (instances, the edge) is the deployment's to stop.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import AsyncKernelManager

from tailrace.host import processes
from tailrace.runner.provisioner import ForkingProvisioner, ForkServer


@dataclass(frozen=True)
class Started:
    """A kernel by its pid and by when that pid was started: a pid alone may by now be somebody else's."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return processes.started(self.pid) == self.started != ""

    def session(self) -> list[psutil.Process]:
        """Return all processes of the kernel's session, itself included; none when the pid is now another's."""
        now = processes.started(self.pid)
        if now is not None and now != self.started:
            return []
        return _running([process for process in psutil.process_iter() if _session(process.pid) == self.pid])

    def end(self, grace_s: float = 2.0, sleep: Callable[[float], None] = time.sleep) -> int:
        """End the whole session, by SIGTERM and after `grace_s` by SIGKILL; return how many processes that were."""
        members = self.session()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in (left := _running(members)):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
            deadline = time.monotonic() + grace_s
            while left and _running(left) and time.monotonic() < deadline:
                sleep(0.02)
        return len(members)


def state(root: Path) -> Path:
    """Return the folder for what living kernels need, which is made."""
    folder = root / ".tailrace" / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def environment(state: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a kernel: ours, but with no start-up files and no history of the user's."""
    return {**inherited, "IPYTHONDIR": str(state / "ipython"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


class Kernel:
    """The kernel of one step; `manager` is the class that papermill is given to start it with."""

    def __init__(
        self, state: Path, log: Path, on_start: Callable[[Started], None], server: ForkServer | None = None
    ) -> None:
        self.server = server
        self.state = state
        self.log = log
        self.on_start = on_start
        self.started: Started | None = None
        self.ended_by: int | None = None
        """What it left with when it died by itself: an exit code, or a signal as a negative number."""
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the kernel and its session, also when it is just about to start."""
        self._stopped.set()
        if self.started is not None:
            self.started.end()

    @property
    def manager(self) -> type[AsyncKernelManager]:
        kernel = self

        class Provisioner(ForkingProvisioner):
            server = kernel.server
            log = kernel.log

        class Manager(AsyncKernelManager):
            """Starts our own interpreter, whatever a kernel spec of that name says elsewhere."""

            def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
                launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file]
                return [*launcher, "--HistoryManager.enabled=False", *(extra_arguments or [])]

            async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
                own = environment(kernel.state, options.pop("env", os.environ))
                self.connection_file = str(kernel.state / f"kernel-{os.getpid()}-{kernel.log.stem}.json")
                if hasattr(self, "transport_encryption"):  # since jupyter_client 8.9
                    options.setdefault("transport_encryption", "auto")
                self.provisioner = Provisioner(parent=self, kernel_spec=self.kernel_spec)
                with kernel.log.open("ab") as log:
                    await super().start_kernel(env=own, stdout=log, stderr=log, **options)
                kernel.has_started(_pid(self))

            async def is_alive(self) -> bool:  # type: ignore[override]
                if kernel.ended_by is None and self.provisioner is not None and self.has_kernel:
                    kernel.ended_by = await self.provisioner.poll()
                alive: bool = await super().is_alive()
                return alive

        return Manager

    def has_started(self, pid: int) -> None:
        self.started = Started(pid, processes.started(pid) or "")
        self.on_start(self.started)
        if self._stopped.is_set():
            self.started.end()

    def close(self) -> None:
        """Remove what only a living kernel needs, and end what it left in its session."""
        if self.started is not None:
            self.started.end()
        for file in self.state.glob(f"kernel-{os.getpid()}-{self.log.stem}*"):
            file.unlink(missing_ok=True)
        if self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()


def _pid(manager: AsyncKernelManager) -> int:
    pid: int = manager.provisioner.pid  # type: ignore[union-attr] # a local kernel has a provisioner with a pid
    return pid


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _running(members: list[psutil.Process]) -> list[psutil.Process]:
    def runs(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in members if runs(process)]
