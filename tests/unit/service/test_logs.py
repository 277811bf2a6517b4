"""The service's log lines."""

import json
import logging
import threading

from tailrace.service import logs
from tailrace.service.logs import Bridge, Log


def collected(*, blocked: threading.Event | None = None) -> tuple[list[bytes], Log]:
    written: list[bytes] = []

    def write(data: bytes) -> None:
        if blocked is not None:
            blocked.wait()
        written.append(data)

    return written, Log(write, clock=lambda: 0.0, colour="blue")


def rows(written: list[bytes]) -> list[dict[str, object]]:
    return [json.loads(line) for line in b"".join(written).splitlines()]


def test_an_event_is_one_json_line() -> None:
    """An event is one line with its time, level, name and facts."""
    written, log = collected()
    log.event("request", status=200)
    log.close()
    assert rows(written) == [
        {"at": "1970-01-01T00:00:00+00:00", "level": "info", "event": "request", "colour": "blue", "status": 200}
    ]


def test_an_error_is_logged_without_its_text() -> None:
    """An exception is logged by its type and traceback, not by its message."""
    written, log = collected()
    try:
        raise ValueError("my prompt")
    except ValueError as error:
        log.error("failed", error)
    log.close()
    (row,) = rows(written)
    assert row["error_type"] == "ValueError"
    assert "test_an_error_is_logged_without_its_text" in str(row["where"])
    assert b"my prompt" not in b"".join(written)


def test_another_librarys_record_keeps_its_place_only() -> None:
    """A record of another library keeps level, logger and place, and loses its text."""
    written, log = collected()
    logger = logging.Logger("elsewhere")
    logger.addHandler(Bridge(log))
    logger.warning("said %s", "my prompt")
    log.close()
    (row,) = rows(written)
    assert (row["level"], row["logger"]) == ("warning", "elsewhere")
    assert "test_logs.py" in str(row["place"])
    assert "my prompt" not in json.dumps(row)


def test_a_blocked_stderr_costs_lines_not_time(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """When stderr blocks, lines beyond the limit are dropped and counted, and no caller waits."""
    monkeypatch.setattr(logs, "LIMIT_LINES", 10)
    blocked = threading.Event()
    written, log = collected(blocked=blocked)
    for number in range(50):
        log.event("request", number=number)
    assert log.dropped >= 30
    blocked.set()
    log.close()
    assert len(rows(written)) + log.dropped == 50
