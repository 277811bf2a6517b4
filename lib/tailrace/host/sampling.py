"""Sample something in the background, at a steady pace and in bounded memory; a failure ends no one's work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
REST = 20


class Sampler(Generic[T]):
    """Calls `read` at once and then every `every_s`, in a thread of its own, and keeps what it returns.

    At most `limit` samples are kept: when there are more, every other one is dropped, and it reads half as often. It
    rests for `REST` times as long as a reading needed the processor: on a large machine it is slower, not dearer.
    """

    def __init__(self, read: Callable[[], T], every_s: float, limit: int = 4_096) -> None:
        self._read, self._every_s, self._limit = read, every_s, limit
        self._samples: list[T] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure = ""
        """The latest error of `read`; empty when the last one worked."""

    @property
    def samples(self) -> list[T]:
        """What was read so far, oldest first; it may be read at any time."""
        return list(self._samples)

    @property
    def latest(self) -> T | None:
        return self._samples[-1] if self._samples else None

    def start(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()
        return self

    def stop(self, within_s: float = 3.0) -> list[T]:
        """End the thread, after one last reading, and return all samples; a reading that hangs is not waited for."""
        self._stop.set()
        if self._thread:
            self._thread.join(within_s)
        return self.samples

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            last, began_s = self._stop.is_set(), time.thread_time()
            try:
                self._samples.append(self._read())
                self.failure = ""
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"
            if last:
                return
            if len(self._samples) > self._limit:
                self._samples = self._samples[::2]
                self._every_s *= 2
            now = time.monotonic()
            due = max(due + self._every_s, now + REST * (time.thread_time() - began_s))
            self._stop.wait(due - now)
