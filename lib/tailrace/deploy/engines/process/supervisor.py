"""Keep Envoy running: restart it on the same files when it dies, replace it without losing a request on SIGHUP.

Run as `python -m tailrace.deploy.engines.process.supervisor ENVOY FOLDER SOCKETS LINGER_S`. A replacement is the hot
restart of Envoy itself: the new process takes over the listening sockets and counts from zero, the old one has LINGER_S
to finish its requests. SIGTERM ends all of them. Envoy runs in the folder SOCKETS, which nobody else may enter, and all
by which it is controlled is there: the socket of its admin, and those of the hot restart. That it ended is journalled.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from tailrace.deploy.edge import configuration, envoy, route_file
from tailrace.deploy.engines.process import shared_memory
from tailrace.deploy.journal import Journal
from tailrace.errors import DeployError, EdgeRejected
from tailrace.host.supervisor import CALM_S, is_told

RETRY_S = 0.1
DRAIN_S = "86400"


@dataclass
class Supervisor:
    """The newest process serves; older ones finish their requests."""

    binary: str
    folder: Path
    sockets: Path
    linger_s: str
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)
    epoch: int = 0
    base_id: int = 0
    stopping: bool = False
    replacing: bool = False
    ends: int = 0
    """How often it has ended since it last ran for a calm hour."""
    started_s: float = 0.0

    def run(self) -> None:
        """Run until SIGTERM."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGHUP, self._replace)
        self._start(0)
        while not self.stopping:
            if self.replacing:
                self.replacing = False
                self._start(self.epoch + 1)
            self.children = [c for c in self.children[:-1] if c.poll() is None] + self.children[-1:]
            if self.children[-1].poll() is not None:
                self._restart(self.children[-1].returncode)
            time.sleep(0.02)
        self._end()

    def _start(self, epoch: int) -> None:
        self.epoch, self.started_s = epoch, time.monotonic()
        if not epoch:
            self.base_id = shared_memory.choose(self.sockets)
        command = [
            self.binary, "--config-path", str(self.folder / "bootstrap.yaml"),
            # One worker: once it has answered with a generation, every later request sees that generation too.
            "--concurrency", "1", "--base-id", str(self.base_id), "--restart-epoch", str(epoch),
            "--socket-path", "restart", "--socket-mode", "600",
            # A connection of a listener that was changed is closed after its next answer, and cut after this time.
            "--drain-time-s", DRAIN_S, "--drain-strategy", "immediate", "--parent-shutdown-time-s", self.linger_s,
            "--log-level", "error",
        ]  # fmt: skip
        self.children.append(subprocess.Popen(command, cwd=self.sockets))

    def _clear(self) -> None:
        """Remove what an Envoy that ended has left: its shared memory and its sockets, named after its base id."""
        shared_memory.remove(self.sockets)
        for left in self.sockets.glob("restart_*"):
            left.unlink(missing_ok=True)

    def _restart(self, status: int) -> None:
        print(f"envoy left with {status}; starting it again", file=sys.stderr, flush=True)
        ran_s = time.monotonic() - self.started_s
        self.ends = 1 if ran_s >= CALM_S else self.ends + 1
        self._end()
        try:
            route_file.read(self.folder / "routes.yaml")
            for name in configuration.NAMES:
                envoy.read(self.folder / f"{name}.yaml")
        except EdgeRejected as error:
            # Envoy would answer 404 to everything: no answer is better than a wrong one.
            print(error, file=sys.stderr, flush=True)
            time.sleep(1)
            return
        self._start(0)
        self._tell(f"killed by signal {-status}" if status < 0 else f"left with {status}", ran_s)
        time.sleep(RETRY_S)

    def _tell(self, how: str, ran_s: float) -> None:
        """Journal that the edge ended, as seldom as an instance's ends are told; a full disk costs no restart."""
        if is_told(self.ends):
            again = f"; it keeps dying, {self.ends} times without a calm hour" if self.ends > 1 else ""
            fact = f"edge: {how} after {ran_s:.1f} s; started again on its files{again}"
            with contextlib.suppress(DeployError):
                Journal(self.folder.parent / "journal.jsonl").append("", "note", "edge ended", fact)

    def _end(self) -> None:
        for child in self.children:
            child.terminate()
        for child in self.children:
            try:
                child.wait(1.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._clear()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _replace(self, number: int, frame: FrameType | None) -> None:
        self.replacing = True


if __name__ == "__main__":
    binary, folder, sockets, linger_s = sys.argv[1:]
    Supervisor(binary, Path(folder), Path(sockets), linger_s).run()
