"""What came by: counts for the admin path, and the access log, which is the ground truth of a load test."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Access:
    """One line of the access log; times are `time.perf_counter_ns()`, one clock for the whole machine."""

    request_id: str  # the caller's x-request-id, or one of ours
    method: str
    path: str
    model: str
    stream: bool
    status: int  # 0: no answer went out
    outcome: str  # complete, clean, close, reset, hang (see replies.Ending) or left: the client went away
    fault: str
    in_tok: int
    out_tok: int
    chunks: int  # parts of the stream that were sent
    sent_bytes: int
    arrival_ns: int  # its first bytes were read
    start_ns: int  # it was read to its end, and taken up
    ttfb_ns: int  # the first byte of the answer was handed to the event loop; 0: none was
    end_ns: int  # the last was handed over, or the connection was ended


class Ledger:
    """Counts requests under /v1/, and writes a line for each when `log` is given."""

    def __init__(self, log: Path | None) -> None:
        # Unbuffered: the log has to be whole after a SIGKILL, too.
        self._log: FileIO | None = None if log is None else FileIO(log, "a")
        self.reset()
        self.in_flight = 0

    def reset(self) -> None:
        """Count from zero; what is in flight stays so."""
        self.requests = 0
        self._paths: Counter[str] = Counter()
        self._statuses: Counter[int] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()

    def begin(self, path: str) -> None:
        self.requests += 1
        self.in_flight += 1
        self._paths[path] += 1

    def end(self, access: Access) -> None:
        self.in_flight -= 1
        self._statuses[access.status] += 1
        self._outcomes[access.outcome] += 1
        if access.fault:
            self._faults[access.fault] += 1
        if self._log is not None and not self._log.closed:
            self._log.write(orjson.dumps(access, option=orjson.OPT_APPEND_NEWLINE))

    def describe(self) -> dict[str, Any]:
        """Return the counts as JSON; `requests` counts what began, statuses, outcomes and faults what ended."""
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
