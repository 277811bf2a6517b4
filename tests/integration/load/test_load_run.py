"""Load runs on a real server: their records, their end, and that nothing outlives them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from depth import scaled
from tailrace.errors import LoadError
from tailrace.load import LoadRun, Traffic, Workload, arrivals, prepare, run, start
from tailrace.records import Record


def rows(folder: Path) -> list[dict]:
    """All records in a folder."""
    return [row for part in sorted(folder.glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]


def test_every_request_has_a_record(target, tmp_path):
    """Two shards send the whole schedule once, and each row has the columns of a record."""
    traffic = Traffic(arrivals.poisson(200, 1, seed=4), Workload(stream_share=0.3), 2, phase="p", step="s", run_id="r")
    summary = run(traffic, target.url, tmp_path)
    records = rows(tmp_path)
    assert summary.intended == summary.sent == summary.recorded == len(records)
    assert summary.errors == 0
    assert summary.loop == "open"
    assert tuple(records[0]) == Record._fields
    assert {(row["phase"], row["step"], row["run_id"], row["colour"]) for row in records if not row["stream"]} == {
        ("p", "s", "r", "blue")
    }
    numbers = sorted(row["seq"] * 2 + row["shard"] for row in records)
    assert numbers == list(range(len(records)))
    assert 0.15 < sum(row["stream"] for row in records) / len(records) < 0.45
    assert len({body for body, _, _ in target.log()}) == len(records)


def test_prepared_load_runs_send_nothing_before_they_begin(target, tmp_path):
    """Two get ready side by side; each sends its schedule when it begins, and not a request before."""
    first, second = (
        prepare(Traffic(arrivals.constant(100, 0.2), phase=name), target.url, tmp_path) for name in ("one", "two")
    )
    with first:
        began_ns = first.start_ns
    assert {row["phase"] for row in rows(tmp_path)} == {"one"}
    second.wait()
    assert second.start_ns > began_ns + 200_000_000
    assert [first.summary.sent, second.summary.sent] == [20, 20]
    assert len(target.log()) == 40


def test_a_prepared_load_run_that_cannot_get_ready_leaves_nothing(tmp_path):
    """The error comes when it begins; its processes are gone then."""
    prepared = prepare(Traffic(arrivals.constant(10, 1)), "http://127.0.0.1:9/v1", tmp_path, sender="nowhere:nothing")
    with pytest.raises(LoadError, match="no traffic was sent"):
        prepared.begin()
    assert not prepared.running


def test_a_prepared_load_run_that_never_begins_ends(target, tmp_path):
    """Its process waits for a bounded time, also when the program that prepared it lives on."""
    order = {"traffic": Traffic(arrivals.constant(10, 1)).describe(), "url": target.url, "out": str(tmp_path)}
    order |= {"sender": "http", "options": {}, "shard": 0, "prefix": "part-0"}
    program = "import os; from tailrace.load import worker; worker.BEGIN_WITHIN_S = 0.2; os._exit(worker.main())"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        assert process.wait(120) == 3
        assert b"did not begin within 0.2 s" in process.stdout.read()
    assert not rows(tmp_path)


def test_failures_are_records(target, tmp_path):
    """A failed request has a row with its class, its status and the time until it failed."""
    summary = run(Traffic(arrivals.constant(100, 0.2)), target.origin + "/status/503", tmp_path)
    assert summary.errors == 20
    assert summary.errors_by_type == {"http_503": 20}
    assert {(row["outcome"], row["error_type"], row["status"]) for row in rows(tmp_path)} == {
        ("error", "http_503", 503)
    }
    assert min(row["service_us"] for row in rows(tmp_path)) > 0


def test_nobody_there_is_recorded_not_raised(tmp_path):
    """Requests to a closed port are failures of the class "connect"."""
    summary = run(Traffic(arrivals.constant(50, 0.2)), "http://127.0.0.1:9/v1", tmp_path)
    assert summary.errors_by_type == {"connect": 10}


def test_hanging_requests_time_out(target, tmp_path):
    """The load run ends at the end of the schedule plus the timeout, whatever the server does."""
    began = time.monotonic()
    summary = run(Traffic(arrivals.constant(20, 0.5), timeout_s=0.5), target.origin + "/hang", tmp_path)
    assert summary.errors_by_type == {"timeout": 10}
    assert time.monotonic() - began < 60
    assert all(490_000 <= row["service_us"] < 30_000_000 for row in rows(tmp_path))


def test_stop_keeps_what_was_recorded(serve, tmp_path):
    """A stopped load run is shorter, not broken: all that was sent is recorded, and the span is what really ran."""
    load_run = start(Traffic(arrivals.constant(100, 60)), serve(0.02).url, tmp_path)
    time.sleep(1.0)
    summary = load_run.stop()
    assert summary.sent == summary.recorded
    assert 60 < summary.recorded < 140
    assert summary.errors == 0
    assert not [reason for reason in summary.reasons if "lag" not in reason], "a busy machine may make it late"
    assert summary.intended_rps == pytest.approx(100, rel=0.05)


def test_stop_without_grace_cancels(target, tmp_path):
    """What is in flight when the grace is over is recorded as cancelled."""
    load_run = start(Traffic(arrivals.constant(20, 60)), target.origin + "/hang", tmp_path)
    time.sleep(0.6)
    summary = load_run.stop(grace_s=0.1)
    assert set(summary.errors_by_type) == {"cancelled"}
    assert summary.recorded == summary.sent


def test_live_counters(target, tmp_path):
    """A running load shows counters, rate and percentiles."""
    with start(Traffic(arrivals.constant(200, 2)), target.url, tmp_path) as load_run:
        time.sleep(1.8)
        snapshot = load_run.snapshot
    assert 100 < snapshot.done <= snapshot.sent <= 400
    assert snapshot.errors == 0
    assert snapshot.rate_rps == pytest.approx(200, rel=0.4)
    assert 0 < snapshot.p50_ms <= snapshot.p99_ms
    assert not load_run.running
    load_run.wait()
    assert (load_run.snapshot.sent, load_run.snapshot.done) == (400, 400)


def test_a_block_that_raises_stops_the_load_run(target, tmp_path):
    """An exception in the block ends the traffic and keeps its records."""
    load_run = start(Traffic(arrivals.constant(50, 60)), target.url, tmp_path)

    def interrupted() -> None:
        with load_run:
            time.sleep(0.3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert not load_run.running
    assert rows(tmp_path)


def test_closed_loop_is_named(serve, tmp_path):
    """Four users with think time never have more than four requests in flight, and the output says "closed"."""
    traffic = Traffic(arrivals.users(4, 1.0, think_s=0.05), shards=2)
    summary = run(traffic, serve(0.05).url, tmp_path)
    assert summary.loop == "closed"
    assert summary.recorded == summary.sent
    assert 20 <= summary.recorded <= 44
    spans = [(r["intended_ns"] + r["send_lag_us"] * 1000, r["service_us"] * 1000) for r in rows(tmp_path)]
    assert max(sum(begun <= at < begun + took for begun, took in spans) for at, _ in spans) <= 4
    (note,) = tmp_path.glob("_part-*.json")
    assert json.loads(note.read_bytes())["summary"]["loop"] == "closed"


def test_two_load_runs_share_a_folder(target, tmp_path):
    """Arms of one step write side by side; each summary counts its own."""
    first = run(Traffic(arrivals.constant(50, 0.2), phase="a"), target.url, tmp_path)
    second = run(Traffic(arrivals.constant(50, 0.4), phase="b"), target.url, tmp_path)
    assert (first.recorded, second.recorded, len(rows(tmp_path))) == (10, 20, 30)


def test_a_sender_of_yours(tmp_path, monkeypatch):
    """`module:factory` is made in the worker from its options, and its outcomes become records."""
    (tmp_path / "mysender.py").write_text(
        textwrap.dedent("""
        import asyncio, json
        from tailrace.load import RequestOutcome

        def factory(options):
            async def send(seq, body, stream):
                await asyncio.sleep(0.01)
                if seq == 3:
                    raise KeyError("a bug")
                if seq == 4:
                    raise ConnectionResetError
                return RequestOutcome(status=200, cache="hit", colour=options["colour"], in_tok=len(json.loads(body)))
            return send
        """)
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    out = tmp_path / "out"
    summary = run(Traffic(arrivals.constant(50, 0.2)), "unused", out, "mysender:factory", {"colour": "green"})
    assert summary.recorded == 10
    assert summary.errors_by_type == {"sender_KeyError": 1, "reset": 1}
    good = [row for row in rows(out) if not row["error_type"]]
    assert {(row["outcome"], row["colour"], row["in_tok"]) for row in good} == {("hit", "green", 2)}
    assert all(row["service_us"] >= 8_000 for row in good)


def test_a_sender_that_is_not_there(tmp_path):
    """An unknown sender is an error before anything is sent."""
    with pytest.raises(LoadError, match="nowhere"):
        start(Traffic(arrivals.constant(1, 1)), "http://127.0.0.1:9", tmp_path, "nowhere:factory")
    assert not rows(tmp_path)


def test_an_interrupted_start_leaves_no_process(target, tmp_path, monkeypatch):
    """Ctrl-C while the generators get ready ends them: in a notebook nobody else would."""

    def interrupted(self: LoadRun) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LoadRun, "_await_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        start(Traffic(arrivals.constant(1, 60), shards=2), target.url, tmp_path)
    assert not _workers(os.getpid())


def _workers(of: int) -> list[psutil.Process]:
    children = psutil.Process(of).children()
    alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in alive if "tailrace.load.worker" in child.cmdline()]


@contextlib.contextmanager
def _fly_elsewhere(url: str, out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with a load run of two shards, well under way; it is gone afterwards, however that went."""
    program = f"""
        from pathlib import Path
        from tailrace.load import Traffic, arrivals, start
        load_run = start(Traffic(arrivals.constant(100, 60), shards=2), {url!r}, Path({str(out)!r}))
        print("running", flush=True)
        load_run.wait()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet, start_new_session=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == b"running\n"
            time.sleep(0.7)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, *scaled([signal.SIGTERM, signal.SIGINT], [])])
def test_workers_die_with_their_parent_and_keep_their_records(target, tmp_path, how):
    """Killed, terminated or interrupted: the workers write what they have and end within seconds."""
    with _fly_elsewhere(target.url, tmp_path) as process:
        workers = _workers(process.pid)
        assert len(workers) == 2
        os.killpg(process.pid, how) if how == signal.SIGINT else process.send_signal(how)
        process.wait(60)
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    records = rows(tmp_path)
    assert len(records) > 40
    assert {row["error_type"] for row in records} == {""}


def test_killed_workers_leave_readable_parts_and_an_invalid_summary(target, tmp_path):
    """A generator that is killed is reported as a missing shard, and never a hang."""
    load_run = start(Traffic(arrivals.constant(100, 30), shards=2), target.url, tmp_path)
    time.sleep(0.5)
    _workers(os.getpid())[0].kill()
    summary = load_run.stop()
    assert not summary.valid
    assert any("did not report back" in reason for reason in summary.reasons)
    assert summary.recorded > 10
    assert not list(tmp_path.glob("*.partial"))


def test_no_records_is_not_valid(target, tmp_path):
    """A schedule without arrivals gives no data, and no data is never a pass."""
    summary = run(Traffic(arrivals.constant(0, 0.1)), target.url, tmp_path)
    assert not summary.valid
    assert "no records" in summary.reasons


def test_flight_is_exported():
    """What `start` returns has a public name."""
    assert LoadRun.__name__ == "LoadRun"
