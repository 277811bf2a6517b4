"""The service's log: JSON lines on stderr, without any content of requests.

Only fields that the service names itself are written. An exception is logged by its type and traceback, never by its
message: messages quote prompts, headers and keys. Records of other libraries keep their level, logger and place.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson

Write = Callable[[bytes], object]

BATCH_S = 0.02  # a busy second costs 50 writes, not 3,000
LIMIT_LINES = 50_000  # when nobody reads stderr, lines are dropped: neither the loop blocks nor the memory fills


class Log:
    """Writes events in batches from a thread of its own, so that a slow stderr never delays a request."""

    def __init__(self, write: Write, *, clock: Callable[[], float] = time.time, **always: str) -> None:
        self.dropped = 0
        self._write = write
        self._clock = clock
        self._always = always
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def event(self, name: str, /, level: str = "info", **facts: Any) -> None:
        """Log one event; the values of `facts` are numbers, booleans, and words that the service chose."""
        if len(self._lines) >= LIMIT_LINES:
            self.dropped += 1
            return
        at = datetime.fromtimestamp(self._clock(), UTC)
        row = {"at": at, "level": level, "event": name, **self._always, **facts}
        try:
            line = orjson.dumps(row, default=_type_name, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError:  # a number or a text that JSON does not have must not cost a request
            self.dropped += 1
            return
        self._lines.append(line)
        if not self._wake.is_set():
            self._wake.set()

    def error(self, name: str, error: BaseException, **facts: Any) -> None:
        """Log an unexpected exception by its type and traceback."""
        self.event(name, level="error", error_type=_type_name(error), where=places(error.__traceback__), **facts)

    def flush(self) -> None:
        """Write the lines that are waiting."""
        with self._writing:
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if lines:
                self._write(b"".join(lines))

    def close(self) -> None:
        """Write the lines that are waiting and end the thread."""
        self._closed = True
        self._wake.set()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            if not self._closed:
                time.sleep(BATCH_S)
            self._wake.clear()
            try:
                self.flush()
            except OSError:
                self.dropped += 1  # stderr is closed; the service goes on


def places(trace: TracebackType | None) -> list[str]:
    """Return the frames of a traceback as `file:line function`, outermost first, the last twelve at most."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)][-12:]  # `extract_tb` opens the sources
    return [f"{_short(code.co_filename)}:{line} {code.co_name}" for code, line in frames]


class Bridge(logging.Handler):
    """Copies other libraries' log records into ours, without their text."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.event(
            "library",
            level=record.levelname.lower(),
            logger=record.name,
            place=f"{_short(record.pathname)}:{record.lineno} {record.funcName}",
            **({"error_type": _type_name(error), "where": places(error.__traceback__)} if error else {}),
        )


def _short(path: str) -> str:
    return "/".join(path.rsplit("/", 3)[1:])


def _type_name(value: object) -> str:
    return type(value).__name__
