"""The kernel that executes one notebook: this interpreter, in a session of its own."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from tailrace.host import files
from tailrace.runner.forking import ForkServer, environment
from tailrace.runner.session import Session


class Kernel:
    """The kernel of one step. papermill starts it through `manager`, a class of kernel managers."""

    def __init__(
        self, state: Path, log: Path, on_start: Callable[[Session], None], server: ForkServer | None = None
    ) -> None:
        self.state = state
        self.log = log
        self.on_start = on_start
        self.server = server
        self.session: Session | None = None
        self.exit_status: int | None = None
        """Set when the kernel died by itself: its exit code, or a signal as a negative number."""
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the kernel and its session, also when it is just about to start."""
        self._stopped.set()
        if self.session is not None:
            self.session.end()

    def close(self) -> None:
        """End what is left of the session, and remove the connection file and an empty log."""
        if self.session is not None:
            self.session.end()
        for file in self.state.glob(f"kernel-{os.getpid()}-{self.log.stem}*"):
            file.unlink(missing_ok=True)
        if self.log.exists() and not self.log.stat().st_size:
            self.log.unlink()

    @property
    def manager(self) -> type[AsyncKernelManager]:
        kernel = self

        class Manager(AsyncKernelManager):
            """Starts this interpreter, whatever kernel spec of that name is installed."""

            def format_kernel_cmd(self, extra_arguments: list[str] | None = None) -> list[str]:
                launcher = [sys.executable, "-m", "ipykernel_launcher", "-f", self.connection_file]
                return [*launcher, "--HistoryManager.enabled=False", *(extra_arguments or [])]

            async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
                variables = environment(kernel.state, options.pop("env", os.environ))
                self.connection_file = str(kernel.state / f"kernel-{os.getpid()}-{kernel.log.stem}.json")
                if hasattr(self, "transport_encryption"):  # since jupyter_client 8.9
                    options.setdefault("transport_encryption", "auto")
                self.provisioner = provisioner = Provisioner(parent=self, kernel_spec=self.kernel_spec)
                provisioner.server, provisioner.log = kernel.server, kernel.log
                with kernel._opened_log() as log:
                    await super().start_kernel(env=variables, stdout=log, stderr=log, **options)
                assert provisioner.pid is not None
                kernel._started(provisioner.pid)

            async def is_alive(self) -> bool:  # type: ignore[override]
                if kernel.exit_status is None and self.provisioner is not None and self.has_kernel:
                    kernel.exit_status = await self.provisioner.poll()
                alive: bool = await super().is_alive()
                return alive

        return Manager

    def _opened_log(self) -> BinaryIO:
        return open(self.log, "ab", opener=files.private)

    def _started(self, pid: int) -> None:
        self.session = Session.of(pid)
        self.on_start(self.session)
        if self._stopped.is_set():
            self.session.end()


class Provisioner(LocalProvisioner):
    """Fork the kernel where a fork server runs, else start a new interpreter."""

    server: ForkServer | None = None
    log = Path(os.devnull)

    async def launch_kernel(self, cmd: list[str], **options: Any) -> KernelConnectionInfo:
        if self.server is not None:
            folder = Path(options.get("cwd") or Path.cwd())
            with contextlib.suppress(ChildProcessError):
                process = self.server.fork_kernel(cmd[cmd.index("-f") :], options["env"], folder, self.log)
                self.process = process  # type: ignore[assignment] # it has what is used of Popen here
                self.pid = self.pgid = process.pid
                self.cwd = folder
                return self.connection_info
        return await super().launch_kernel(cmd, **options)
