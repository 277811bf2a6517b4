"""What a server told while a load ran: differences of its histograms, over all its instances, and its gauges."""

import math

import pandas as pd

from tailrace.analysis import server
from tailrace.load.beside import ServerRow, server_rows
from tailrace.server_metrics import Histogram, Reading

S = 1_000_000_000


def told(second: int, fast: int, slow: int, colour: str = "", running: float = 1.0) -> list[ServerRow]:
    """One reading: values below 50 ms and between 50 and 100 ms since the server's start."""
    buckets = ((50.0, fast), (100.0, fast + slow), (math.inf, fast + slow))
    return server_rows(colour, Reading(second * S, {"running": running}, {"ttft": Histogram(buckets)}))


def frame(*readings: list[ServerRow]) -> pd.DataFrame:
    return pd.DataFrame([row for rows in readings for row in rows], columns=ServerRow._fields)


def test_only_what_was_counted_meanwhile_counts():
    """What the server had counted before the load is not part of it."""
    rows = frame(told(0, 1_000, 0), told(1, 1_010, 5), told(2, 1_090, 10))
    assert server.over(rows, "ttft").buckets == ((50.0, 90.0), (100.0, 100.0), (math.inf, 100.0))
    assert server.document(rows)["ttft_ms"] == {"n": 100, "p50": [0, 50], "p95": [50, 100], "p99": [50, 100]}


def test_two_colours_are_one_server():
    """The histograms of both instances are added up, also where one of them was read later or not at the end."""
    rows = frame(told(0, 10, 0, "blue"), told(1, 40, 0, "blue"), told(1, 0, 0, "green"), told(2, 0, 70, "green"))
    assert server.over(rows, "ttft").count == 100
    assert [histogram.count for _, histogram in server.histograms(rows, "ttft")] == [10, 40, 110]


def test_one_reading_counts_nothing():
    """The negative control: a single reading says what was before it, and not what the load did."""
    assert server.over(frame(told(0, 1_000, 0)), "ttft").count == 0
    assert "ttft_ms" not in server.document(frame(told(0, 1_000, 0)))


def test_gauges_are_told_as_they_were():
    """Mean and maximum of a gauge stand in the document and in the line."""
    content = server.document(frame(told(0, 0, 0, running=2), told(1, 95, 5, running=6)))
    assert content["running"] == {"mean": 4.0, "max": 6.0}
    assert server.words(content) == "running 4, at most 6; ttft p50 0–50 ms, p95 0–50 ms (n 100)"


def test_a_server_that_told_nothing_is_a_reason():
    """The reason of the last reading is the whole document."""
    silent = frame(server_rows("", Reading(0, why="http://h/metrics answered 404")))
    assert server.document(silent) == {"why": "http://h/metrics answered 404"}
    assert server.words(server.document(silent)) == "tells nothing: http://h/metrics answered 404"
    assert server.document(frame()) == {"why": "it was not read"}
