"""A command of the project that a rollout waits for: its log is bounded, and nothing of it outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from tailrace import credentials
from tailrace.host import excerpts, files, processes, waiting

HEAD_BYTES = 1 << 20
"""This much of an output is kept in its log, from its beginning;"""
TAIL_BYTES = 1 << 16
"""and this much from its end."""
KEPT_LOGS = 40
GRACE_S = 2.0
LINES = 12


@dataclass(frozen=True)
class RunningCommand:
    """A command in a session of its own; `folder` marks what descends from it."""

    child: subprocess.Popen[bytes]
    process: processes.Process
    log: Path
    reader: threading.Thread
    begun_s: float

    def ended(self) -> bool:
        return self.child.poll() is not None

    @property
    def status(self) -> str:
        """How it ended: "status 3", "signal 9"."""
        code = self.child.returncode
        return f"signal {-code}" if code < 0 else f"status {code}"

    @property
    def duration_s(self) -> float:
        return time.monotonic() - self.begun_s

    def excerpt(self, secrets: Mapping[str, str]) -> str:
        """Return the path of the log, and its last lines, bounded, with no secret that is known or looks like one."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 2 * TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError as error:
            return f"{self.log} cannot be read: {error.strerror}"
        for name, value in sorted(secrets.items(), key=lambda item: -len(item[1])):
            text = text.replace(value, f"${{{name}}}") if value else text
        return excerpts.with_source(str(self.log), excerpts.of_text(credentials.masked(text).strip(), LINES))


@contextlib.contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path
) -> Iterator[RunningCommand]:
    """Run `command` without a shell, with exactly `environment`; however this is left, nothing of it runs on.

    Raises OSError when it cannot be started.
    """
    files.make_folder(log.parent)
    end_strays(log.parent)
    _prune(log.parent)
    marked = {**environment, **processes.marks(log.parent, log.stem)}
    with open(log, "ab", buffering=0, opener=files.private) as output:
        child = subprocess.Popen(
            list(command), env=marked, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        name = (log.stem, child.pid, processes.started(child.pid) or "")
        process = processes.Process(*name, log.parent, tuple(command))
        reader = threading.Thread(target=_keep, args=(child, output), daemon=True)
        reader.start()
        try:
            yield RunningCommand(child, process, log, reader, time.monotonic())
        finally:
            _end(child, process)
            reader.join(GRACE_S)


def end_strays(folder: Path) -> list[str]:
    """End what a controller that died left running of its hooks; return their names."""
    left = [process for process in processes.recorded(folder) if process.alive] if folder.is_dir() else []
    for process in left:
        processes.end(process, GRACE_S)
    return [f"{process.name} (pid {process.pid})" for process in left]


def _end(child: subprocess.Popen[bytes], process: processes.Process) -> None:
    """End the command and all that descends from it: SIGTERM where it still runs, then SIGKILL."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        waiting.until(lambda: child.poll() is not None, GRACE_S)
    processes.kill(process)
    child.wait()


def _keep(child: subprocess.Popen[bytes], output: RawIOBase) -> None:
    """Write what the command says into its log: the beginning, and the end of what is too long."""
    assert child.stdout
    kept, dropped, last = 0, 0, b""
    with child.stdout as said:
        while piece := os.read(said.fileno(), TAIL_BYTES):
            head, rest = piece[: HEAD_BYTES - kept], piece[HEAD_BYTES - kept :]
            with contextlib.suppress(OSError):  # a full disk is no reason for a command to hang at its output
                output.write(head)
            kept += len(head)
            dropped += max(0, len(last) + len(rest) - TAIL_BYTES)
            last = (last + rest)[-TAIL_BYTES:]
        with contextlib.suppress(OSError):
            output.write((f"\n… {dropped:,} bytes left out …\n".encode() if dropped else b"") + last)


def _prune(folder: Path) -> None:
    """Remove the oldest logs, so that the newest `KEPT_LOGS` are left."""
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime_ns)
    for path in logs[: max(0, len(logs) - KEPT_LOGS + 1)]:
        path.unlink(missing_ok=True)
