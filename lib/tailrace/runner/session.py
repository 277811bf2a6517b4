"""The session of processes that a kernel leads: what has to end when a step ends.

A kernel that gets SIGTERM leaves its children behind, so the whole session is ended. A process that left the
session on purpose (an instance, the edge) belongs to the deployment, which stops it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import psutil

from tailrace.host import processes


@dataclass(frozen=True)
class Session:
    """A session by the pid of its leader and the leader's start time: a pid alone may have been reused."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the session that the running process `pid` leads."""
        return cls(pid, processes.started(pid) or "")

    def members(self) -> list[psutil.Process]:
        """Return all running processes of the session; none when the pid belongs to another process by now."""
        now = processes.started(self.pid)
        if now is not None and now != self.started:
            return []
        return _running([process for process in psutil.process_iter() if _session_id(process.pid) == self.pid])

    def end(self, grace_s: float = 2.0, sleep: Callable[[float], None] = time.sleep) -> int:
        """End all members with SIGTERM, and after `grace_s` with SIGKILL; return how many there were."""
        members = self.members()
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in (remaining := _running(members)):
                with contextlib.suppress(psutil.Error):
                    process.send_signal(number)
            deadline = time.monotonic() + grace_s
            while remaining and _running(remaining) and time.monotonic() < deadline:
                sleep(0.02)
        return len(members)


def _session_id(pid: int) -> int | None:
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
