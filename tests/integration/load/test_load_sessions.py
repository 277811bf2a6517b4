"""Sessions against a real server: their order, their pauses, and what is not sent."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd
import pytest

from tailrace import analysis, load
from tailrace.load import Traffic, Workload, arrivals
from tailrace.load.lengths import fixed
from tailrace.load.sessions import Sessions

THINK_S = 0.2


class Heard(NamedTuple):
    """A request, as the server had it."""

    messages: list[dict[str, str]]
    arrived_ns: int
    ended_ns: int


class Server(http.server.BaseHTTPRequestHandler):
    """Answers after `delay_s`, and with status 500 where a conversation has `refused` messages."""

    protocol_version = "HTTP/1.1"
    heard: ClassVar[list[Heard]] = []
    delay_s: ClassVar[float] = 0.05
    refused: ClassVar[int] = 0

    def do_POST(self):
        arrived_ns = time.perf_counter_ns()
        messages = json.loads(self.rfile.read(int(self.headers["content-length"])))["messages"]
        time.sleep(self.delay_s)
        good = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}
        body = json.dumps({"error": {"message": "no"}} if len(messages) == self.refused else good).encode()
        self.heard.append(Heard(messages, arrived_ns, time.perf_counter_ns()))
        self.send_response(500 if len(messages) == self.refused else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        """A client that was stopped hangs up, and that is no error of the server."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Server, "heard", [])
    monkeypatch.setattr(Server, "delay_s", 0.05)
    monkeypatch.setattr(Server, "refused", 0)
    with Quiet(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join(30)


def traffic(rate_rps: float = 10, duration_s: float = 3.0, shards: int = 1, turns: int = 3, think_s: float = THINK_S):
    workload = Workload(sessions=Sessions(fixed(turns), think_s, system_tokens=20), max_tokens=fixed(5))
    return Traffic(arrivals.constant(rate_rps, duration_s), workload, shards)


def by_session(folder: Path) -> Iterator[pd.DataFrame]:
    records = analysis.read(folder)
    assert (records["session"] >= 0).all()
    for _, turns in records.sort_values("turn").groupby("session"):
        yield turns


@pytest.mark.parametrize("shards", [1, 2])
def test_a_turn_follows_the_answer_before_it_and_a_pause(url: str, tmp_path: Path, shards: int):
    """In every session: turns 0, 1, 2 in order, each due exactly its pause after the end of the answer before it."""
    summary = load.run(traffic(shards=shards), url, tmp_path)
    assert summary.sessions is not None
    assert summary.sessions.begun == summary.sessions.complete + summary.sessions.unfinished == 30
    assert summary.sessions.complete > 0
    assert summary.recorded == 90 - summary.sessions.turns_after_end
    for turns in by_session(tmp_path):
        assert list(turns["turn"]) == list(range(len(turns)))
        ended_ns = turns["intended_ns"] + (turns["send_lag_us"] + turns["service_us"]) * 1000
        pauses_ns = turns["intended_ns"].iloc[1:].to_numpy() - ended_ns.iloc[:-1].to_numpy()
        assert ((pauses_ns - THINK_S * 1e9) < 2001).all(), "two columns are cut to microseconds"
        assert ((pauses_ns - THINK_S * 1e9) >= 0).all()


def test_the_server_sees_the_history_grow_after_its_answers(url: str, tmp_path: Path):
    """Each request of a session holds the one before it, and comes after the answer to that one was written."""
    load.run(traffic(), url, tmp_path)
    sessions: dict[str, list[Heard]] = {}
    for heard in Server.heard:
        sessions.setdefault(heard.messages[1]["content"], []).append(heard)
    assert len(sessions) == 30, "no two sessions say the same"
    assert max(map(len, sessions.values())) == 3
    for requests in sessions.values():
        for before, after in pairwise(requests):
            assert after.messages[: len(before.messages)] == before.messages
            assert after.arrived_ns >= before.ended_ns


def test_sessions_begin_on_schedule_however_slow_the_answers_are(url: str, tmp_path: Path):
    """Between sessions the loop is open: first turns are due by the schedule, while earlier sessions still wait."""
    Server.delay_s = 1.0
    with load.start(traffic(rate_rps=5, duration_s=2.0), url, tmp_path) as load_run:
        pass
    first = analysis.read(tmp_path).query("turn == 0").sort_values("session")
    assert list(first["intended_ns"] - load_run.start_ns) == [n * 200_000_000 for n in range(10)]


def test_the_rest_of_a_session_is_not_sent_after_a_turn_that_failed(url: str, tmp_path: Path):
    """A conversation whose second turn failed has no third, and the summary says how many were left out."""
    Server.refused = 4  # system, user, assistant, user: the second turn
    summary = load.run(traffic(duration_s=2.0), url, tmp_path)
    assert summary.sessions is not None
    assert summary.sessions.complete == 0
    assert summary.sessions.failed == summary.sessions.turns_after_failure == summary.errors > 0
    assert analysis.read(tmp_path)["turn"].max() == 1


def test_a_stop_sends_no_further_turn(url: str, tmp_path: Path):
    """After `stop`, turns that wait are not sent; they are counted, and nothing else is missing."""
    load_run = load.start(traffic(duration_s=60.0, turns=200, shards=2), url, tmp_path)
    deadline = time.monotonic() + 60
    while len(Server.heard) < 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    summary = load_run.stop()
    assert summary.sessions is not None
    assert summary.sessions.unfinished == summary.sessions.begun > 0
    assert summary.recorded + summary.sessions.turns_after_end == 200 * summary.sessions.begun
    assert summary.sent == summary.recorded


def test_sessions_have_no_closed_loop():
    """Users that wait for answers and sessions that arrive are two answers to one question."""
    with pytest.raises(ValueError, match="a rate of sessions instead of users"):
        Traffic(arrivals.users(3, 1.0), Workload(sessions=Sessions()))


@pytest.mark.parametrize("shards", [1, 2])
def test_the_conversations_of_a_trace_are_played_in_order(url: str, tmp_path: Path, shards: int):
    """A recorded turn is sent at its recorded time, or after the answer before it, whichever is later."""
    due_s = {0: [0.0, 0.6, 0.8], 1: [0.5, 0.5]}
    rows = [(0, -1, 0.0), (1, -1, 0.5), (2, 0, 0.6), (3, 1, 0.5), (4, 2, 0.8)]
    names = ("chat_id", "parent_chat_id", "timestamp")
    lengths = {"input_length": 32, "output_length": 5, "hash_ids": [7, 9]}
    trace = tmp_path / "qwen.jsonl"
    trace.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True)) | lengths) for row in rows))
    played = Traffic(load.Trace(trace, duration_s=30), Workload(sessions=Sessions()), shards)
    with load.start(played, url, tmp_path / "out") as load_run:
        pass
    assert load_run.summary.sessions is not None
    assert (load_run.summary.sessions.begun, load_run.summary.sessions.complete) == (2, 2)
    later = 0
    for session, turns in enumerate(by_session(tmp_path / "out")):
        intended_ns = turns["intended_ns"] - load_run.start_ns
        ended_ns = intended_ns + (turns["send_lag_us"] + turns["service_us"]) * 1000
        for turn, recorded_s in enumerate(due_s[session]):
            after_answer_ns = intended_ns.iloc[turn] - ended_ns.iloc[turn - 1] if turn else 0
            on_time = intended_ns.iloc[turn] == round(recorded_s * 1e9)
            assert after_answer_ns >= 0
            assert on_time or after_answer_ns < 2001, "two columns are cut to microseconds"
            later += not on_time
    assert later >= 1, "the second session's turns have one time, and an answer takes longer"
