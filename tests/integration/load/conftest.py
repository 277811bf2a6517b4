"""The target of the load tests: a real server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("target.py")


@dataclass
class Target:
    """A running server; `log` ends it, and returns (CRC of the body, arrived ns, answered ns) of each."""

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def log(self) -> list[tuple[int, int, int]]:
        self.end()
        return [tuple(row) for row in json.loads(self.log_file.read_bytes())]

    def end(self) -> None:
        """Close its input, so that it ends, and kill it when it does not. A second call does nothing."""
        assert self.process.stdin
        with self.process:
            self.process.stdin.close()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[float], Target]]:
    """Start a target with the given delay in seconds."""
    with contextlib.ExitStack() as started:

        def start(delay_s: float = 0.0) -> Target:
            log_file = tmp_path / "log.json"
            command = [sys.executable, str(PROGRAM), str(delay_s), str(log_file)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            target = Target(process, 0, log_file)
            started.callback(target.end)
            assert process.stdout
            target.port = int(process.stdout.readline())
            return target

        yield start


@pytest.fixture
def target(serve: Callable[[float], Target]) -> Target:
    """A target that answers at once."""
    return serve(0.0)
