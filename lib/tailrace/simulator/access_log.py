"""The access log, which is the ground truth of a load test, and the counts for the admin path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One line of the access log; times are `time.perf_counter_ns()`, one clock for the whole machine."""

    request_id: str  # the caller's x-request-id, or one of ours
    method: str
    path: str
    model: str
    stream: bool
    status: int  # 0: no response was sent
    outcome: str  # complete, clean, close, reset, hang (see delivery.Ending) or left: the client disconnected
    fault: str
    in_tok: int
    out_tok: int
    chunks: int  # parts of the stream that were sent
    sent_bytes: int
    arrival_ns: int  # when its first bytes were read
    start_ns: int  # when it was read to its end, and its handling began
    ttfb_ns: int  # when the first byte of the response was handed to the event loop; 0: none was
    end_ns: int  # when the last byte was handed over, or the connection closed
    reasoning_tok: int = 0  # of out_tok; in a stream they come first
    token_ns: tuple[int, ...] = ()  # with --log-tokens: when each part that carries tokens was handed over
    token_counts: tuple[int, ...] = ()  # the tokens in each of them; of several choices, those of the longest


class AccessLog:
    """Counts requests under /v1/, and writes a line for each if `log` names a file."""

    def __init__(self, log: Path | None) -> None:
        # Unbuffered: the log must be complete after a SIGKILL, too.
        self._log: FileIO | None = None if log is None else FileIO(log, "a")
        self.reset()
        self.in_flight = 0

    def reset(self) -> None:
        """Count from zero; requests in flight stay counted."""
        self.requests = 0
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def begin(self, path: str) -> None:
        self.requests += 1
        self.in_flight += 1
        self._paths[path] += 1

    def end(self, access: AccessRecord) -> None:
        self.in_flight -= 1
        self._statuses[access.status] += 1
        self._outcomes[access.outcome] += 1
        if access.fault:
            self._faults[access.fault] += 1
        if self._log is not None and not self._log.closed:
            self._log.write(orjson.dumps(access, option=orjson.OPT_APPEND_NEWLINE))

    def describe(self) -> dict[str, Any]:
        """Return the counts as JSON; `requests` counts those that began, the others those that ended."""
        return {
            "requests": self.requests,
            "in_flight": self.in_flight,
            "by_path": dict(self._paths),
            "by_status": {str(status): count for status, count in sorted(self._statuses.items())},
            "by_outcome": dict(self._outcomes),
            "faults": dict(self._faults),
        }

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
