"""The program that a supervisor runs before it starts its own again: it tells the world, and says what to start now."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from typing import Any

LONGEST_S = 30.0
ANSWER_BYTES = 1 << 20


class Helper:
    """Runs one at a time; `answer` is what it wrote on standard output, as JSON."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.pid, self.reader, self.deadline = 0, -1, 0.0
        self.answer: dict[str, Any] = {}
        self._read = b""

    @property
    def busy(self) -> bool:
        return self.reader >= 0

    def start(self, fact: str) -> None:
        """Run it with `fact` as its last argument."""
        self.answer, self._read = {}, b""
        if not self.command:
            return
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        try:
            into = [(os.POSIX_SPAWN_DUP2, writer, 1)]
            self.pid = os.posix_spawn(self.command[0], [*self.command, fact], kept, file_actions=into)
        except OSError:
            self._close()
        finally:
            os.close(writer)
        self.deadline = time.monotonic() + LONGEST_S

    def listen(self) -> None:
        """Take what it has written; after `LONGEST_S`, or a megabyte, it is killed, and its answer is none."""
        while self.busy:
            try:
                block = os.read(self.reader, 65536)
            except BlockingIOError:
                if time.monotonic() >= self.deadline:
                    self.kill()
                return
            self._read += block
            if len(self._read) > ANSWER_BYTES:
                self.kill()
            elif not block:
                self._close()
                with contextlib.suppress(ValueError):
                    answer = json.loads(self._read)
                    self.answer = answer if isinstance(answer, dict) else {}

    def kill(self) -> None:
        """End it, if it runs; its answer is none."""
        self._read = b""
        self._close()
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _close(self) -> None:
        if self.reader >= 0:
            os.close(self.reader)
        self.reader = -1
