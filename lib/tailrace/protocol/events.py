"""Server-sent events, as the WHATWG standard has them (HTML, §9.2.6), from bytes that may be cut anywhere."""

from __future__ import annotations

from typing import Final, NamedTuple

DONE: Final = b"[DONE]"
MOST_BYTES: Final = 16 << 20
"""A larger event is dropped: a stream without line ends must not fill the memory."""
_BOM: Final = b"\xef\xbb\xbf"
_CR, _LF = b"\r\n"


class Event(NamedTuple):
    """One event: its data, its name ("" for the default, `message`), and the last id that the stream gave."""

    data: bytes
    name: str = ""
    id: str = ""


_new = tuple.__new__  # a named tuple's own constructor takes three times as long


class EventParser:
    """Turns bytes into events. It keeps the event that is under way, up to `most_bytes`, and nothing else."""

    __slots__ = (
        "_after_cr", "_data", "_dropping", "_id", "_idle", "_kept", "_line", "_most_bytes", "_name", "_started",
        "dropped",
    )  # fmt: skip

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.dropped = 0
        """Events that were too large to keep."""
        self._most_bytes = most_bytes
        self._line: list[bytes] = []  # the parts of the line under way; joined at its end, so that the cost is linear
        self._data: list[bytes] = []
        self._name = self._id = ""
        self._kept = 0
        self._dropping = self._started = self._after_cr = False
        self._idle = False  # whether nothing of an event is under way

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        size = len(data)
        if (  # one event in one piece, as most servers send them, takes half the time of the way below
            self._idle
            and data.find(b"\n") == size - 2
            and data.startswith(b"data: ")
            and data[-1] == _LF
            and _CR not in data
            and size <= self._most_bytes
        ):
            return [_new(Event, (data[6:-2], "", self._id))]
        if _CR in data or self._after_cr or not self._started:
            data = self._normalised(data)
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._line and lines:
            lines[0] = b"".join([*self._line, lines[0]])
            self._line.clear()
        if rest:
            self._line.append(rest)
        events = []
        for line in lines:
            if line.startswith(b"data: "):
                self._data.append(line[6:])
            elif line:
                self._field(line)
            elif self._data and not self._dropping:
                events.append(self._event())
            else:
                self._discard()
        if self._line or self._data:
            self._bound(len(data), bool(events))
        self._idle = self._started and not (self._line or self._data or self._name or self._dropping or self._after_cr)
        return events

    def close(self) -> list[Event]:
        """Return what the clean end of the stream completes: `[DONE]` needs no blank line, any other event does."""
        if self._line:
            self._field(b"".join(self._line))
            self._line.clear()
        event = self._event() if self._data else None
        return [event] if event is not None and event.data.startswith(DONE) else []

    def _normalised(self, data: bytes) -> bytes:
        """Return `data` without a byte order mark at the start, and with LF for each line end."""
        if not self._started:
            data = b"".join(self._line) + data
            self._line.clear()
            if len(data) < len(_BOM) and _BOM.startswith(data):
                return data  # it has no line end, so that it is kept as a line, and comes again
            self._started = True
            data = data.removeprefix(_BOM)
        if self._after_cr and data:
            data, self._after_cr = data.removeprefix(b"\n"), False
        if _CR in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")

    def _event(self) -> Event:
        lines = self._data
        data = lines[0] if len(lines) == 1 else b"\n".join(lines)
        lines.clear()
        event = _new(Event, (data, self._name, self._id))
        self._name = ""
        return event

    def _discard(self) -> None:
        """Forget the event under way: it has no data, or too much."""
        self.dropped += self._dropping
        self._data.clear()
        self._name, self._dropping = "", False

    def _bound(self, size: int, completed: bool) -> None:
        """Drop what is kept of the event under way when it is too much; its end is still awaited."""
        self._kept = size if completed else self._kept + size
        if self._kept > self._most_bytes:
            self._kept, self._dropping = 0, True
            self._data.clear()
            self._line = [b":"] if self._line else []  # the rest of the line is read as a comment
