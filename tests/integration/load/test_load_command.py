"""`tailrace load` as a user runs it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

COMMAND = [sys.executable, "-m", "tailrace.cli", "load"]
GROUP = {"group", "from", "n", "errors", "episodes", "max_ms", "tokens"} | {
    f"{name}{end}_ms" for name in ("p50", "p90", "p95", "p99", "p999") for end in ("", "_lo", "_hi")
}


def load(*options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, options)], capture_output=True, text=True, timeout=60, check=False)


def recorded(folder: Path) -> int:
    return sum(pq.read_metadata(part).num_rows for part in folder.glob("part-*.parquet"))


def test_writes_records_and_summary(serve, tmp_path):
    """The summary has its documented shape, both on stdout and on disk, and agrees with the records."""
    out = tmp_path / "out"
    done = load(serve(0.01).url, "--rate", 200, "--duration", 2, "--arrivals", "poisson", "--out", out, "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == (0 if summary["valid"] else 2), done.stderr
    assert json.loads((out / "summary.json").read_text()) == summary
    assert {"valid", "reasons", "send_lag_p99_ms", "intended_rps", "achieved_rps", "groups"} <= set(summary)
    assert (summary["intended_rps"], summary["loop"], summary["errors"]) == (200, "open", 0)
    assert "floor of this client: p50" in summary["floor"]["text"]
    assert [set(group) for group in summary["groups"]] == [GROUP, GROUP]
    intended, sent = summary["groups"]
    assert (intended["from"], sent["from"], intended["n"]) == ("intended", "sent", 400)
    assert 10 <= sent["p50_ms"] <= intended["p50_ms"] <= intended["p99_ms"] <= intended["max_ms"]
    assert intended["p999_ms"] is None, "400 requests say nothing of p99.9"
    assert recorded(out) == 400


@pytest.mark.parametrize(("path", "limit", "status", "word"), [("", 5000, 0, "PASS"), ("", 1, 1, "FAIL")])
def test_judges_by_the_limits(serve, tmp_path, path, limit, status, word):
    """Within the limits is 0, beyond is 1; an invalid measurement is 2, whatever it says."""
    out = tmp_path / "out"
    done = load(serve(0.02).url, "--rate", 200, "--duration", 2, "--slo", f"p99={limit}", "--no-floor", "--out", out)
    valid = json.loads((out / "summary.json").read_text())["valid"]
    assert done.returncode == (status if valid else 2)
    assert (word if valid else "INCONCLUSIVE") in done.stdout


def test_failures_are_counted_beside(target, tmp_path):
    """Failed requests are in `errors`, never among the percentiles; with nothing else there are none."""
    done = load(target.origin + "/status/429", "--rate", 50, "--duration", 1, "--no-floor", "--json", "--out", tmp_path)
    group = json.loads(done.stdout)["groups"][0]
    assert (group["n"], group["errors"], group["p50_ms"], group["max_ms"]) == (0, 50, None, None)
    assert json.loads(done.stdout)["errors_by_type"] == {"http_429": 50}


def test_a_load_of_streams_has_the_times_of_tokens(target, tmp_path):
    """Printed and written: TTFT, TPOT, the gaps between tokens, and tokens per second; all can be judged."""
    limits = ("--slo", "ttft_p95=5000", "--slo", "tpot_p95=5000", "--goodput", "ttft=5000,tpot=5000,share=0.9")
    done = load(target.url, "--stream", "--rate", 60, "--duration", 2, "--no-floor", "--out", tmp_path / "out", *limits)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert {"ttft", "tpot", "itl", "tokens"} <= set(summary["groups"][0])
    assert {"TTFT", "TPOT", "ITL", "tokens/s", "goodput"} <= {
        line.split()[0] for line in done.stdout.splitlines() if line
    }
    if summary["valid"]:
        assert done.stdout.count("PASS: ") == 3
        assert done.returncode == 0


@pytest.mark.parametrize("limits", [(), ("--slo", "p50=800"), ("--error-rate", "0.01"), ("--error-rate", "1")])
def test_a_load_of_failures_has_failed(target, tmp_path, limits):
    """When no request succeeds, status and verdict say so, whatever the limits are."""
    out = tmp_path / "out"
    done = load(target.origin + "/status/500", "--rate", 20, "--duration", 1, "--no-floor", "--out", out, *limits)
    assert done.returncode == 1, done.stdout
    assert "FAIL: every one of 20 requests failed (http_500 20)" in done.stdout
    assert json.loads((out / "summary.json").read_text())["judgements"][0]["verdict"] == "FAIL"


def test_one_success_is_no_failure_of_all(target, tmp_path):
    """The check above can pass: without limits, a valid load with answers is 0."""
    done = load(target.url, "--rate", 20, "--duration", 1, "--no-floor", "--out", tmp_path / "out")
    assert done.returncode == (2 if "INVALID" in done.stdout else 0)
    assert "FAIL" not in done.stdout


def test_two_loads_of_one_second_have_two_folders(target, tmp_path):
    """Loads that begin together never share a folder, and each writes its summary."""
    command = [*COMMAND, target.url, "--rate", "20", "--duration", "1", "--no-floor"]
    started = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert {process.wait(60) for process in started} <= {0, 2}
    folders = list((tmp_path / "loads").iterdir())
    assert len(folders) == 2
    assert [recorded(folder) for folder in folders] == [20, 20]
    assert all((folder / "summary.json").is_file() for folder in folders)


def test_a_second_load_goes_beside_the_first(target, tmp_path):
    """Records of two loads in one folder would be counted as one: the second says where it is, and touches nothing."""
    out = tmp_path / "out"
    for folder in (out, tmp_path / "out-2"):
        done = load(target.url, "--rate", 20, "--duration", 1, "--no-floor", "--out", out)
        assert done.stdout.splitlines()[-1] == f"records and summary.json: {folder}"
    assert f"this load is in {tmp_path / 'out-2'}" in done.stderr
    assert [recorded(folder) for folder in (out, tmp_path / "out-2")] == [20, 20]


def test_a_closed_loop_says_so(serve, tmp_path):
    """`--users` is named closed in the table, in the summary, and in the live line."""
    done = load(serve(0.02).url, "--users", 3, "--duration", 6, "--stream", "--no-floor", "--out", tmp_path)
    assert done.stdout.startswith("closed loop")
    assert "closed loop" in done.stderr
    assert json.loads((tmp_path / "summary.json").read_text())["loop"] == "closed"


@contextlib.contextmanager
def ended(command, **options):
    """A process that is gone afterwards, however that went."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_keeps_what_was_recorded(serve, tmp_path):
    """Ctrl-C on a terminal: the live line ends, the summary is written, the status is 130."""
    leader, follower = pty.openpty()
    out, began = tmp_path / "out", time.monotonic()
    command = [*COMMAND, serve(0.01).url, "--rate", "100", "--duration", "60", "--out", str(out)]
    with ended(command, stdout=subprocess.PIPE, stderr=follower, start_new_session=True) as process:
        os.close(follower)
        output = b""
        while b"100 sent" not in output and b"p50 1" not in output and time.monotonic() - began < 60:
            output += os.read(leader, 4096)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
    os.close(leader)
    assert process.returncode == 130
    assert b"open loop" in output
    assert b"open loop" in stdout
    summary = json.loads((out / "summary.json").read_text())
    assert summary["recorded"] == recorded(out) > 50
    assert summary["errors"] == 0


@pytest.mark.parametrize("more", [(), ("--find", "--to-rate", "4000")])
def test_sigterm_ends_it_in_order(serve, tmp_path, more):
    """SIGTERM is as good as Ctrl-C: the generators end, and what was recorded is kept."""
    out = tmp_path / "out"
    command = [*COMMAND, serve(0.01).url, "--rate", "100", "--duration", "60", "--out", str(out), *more]
    with ended(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(out.glob("part-*")) and time.monotonic() < deadline:
            time.sleep(0.2)
        workers = psutil.Process(process.pid).children()
        process.terminate()
        assert process.wait(60) == 130
    assert workers
    assert not psutil.wait_procs(workers, timeout=60)[1]
    assert recorded(out) > 50


def test_finds_the_limit(serve, tmp_path):
    """A search ends with the highest rate that met the limit, and every rate tried is on file."""
    url, out = serve(0.01).url, tmp_path / "out"
    done = load(url, "--find", "--rate", 400, "--to-rate", 800, "--duration", 1, "--slo", "p95=500", "--out", out)
    limit = json.loads((out / "limit.json").read_text())
    if not all(point["valid"] for point in limit["points"]):
        assert done.returncode == 2
        assert "the measurement is not valid" in limit["reason"], "on a machine busy with others"
        return
    assert done.returncode == 0, done.stdout
    assert [point["rate_rps"] for point in limit["points"]] == [400, 800]
    assert limit["highest_rps"] in {400, 800}


def test_plays_a_trace(target, tmp_path):
    """A recorded trace sets the times and the lengths."""
    rows = [f"2023-11-16 18:15:{10 + n}.0000000,50,7" for n in range(20)]
    trace = tmp_path / "small.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    options = ("--trace", trace, "--speed", 20, "--duration", 1, "--no-floor", "--json", "--out", tmp_path / "out")
    summary = json.loads(load(target.url, *options).stdout)
    assert (summary["arrivals"], summary["sent"]) == ("trace small.csv", 20)


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (("--rate", "0"), 2, "'--rate': 0.0 is not in the range"),
        (("--slo", "99=5"), 2, "expected a percentile and its limit in ms, like p99=800"),
        (("--slo", "p99=fast"), 2, "expected a percentile"),
        (("--cv", "-1"), 2, "'--cv'"),
        (("--users", "3", "--trace", __file__), 2, "so does --trace: give one of them"),
        (("--users", "3", "--rate", "5"), 2, "so does --rate: give one of them"),
        (("--trace", __file__, "--arrivals", "poisson"), 2, "so does --arrivals: give one of them"),
        (("--find", "--rate", "10", "--to-rate", "5"), 2, "--to-rate 5 is below --rate 10"),
        (("--model", "a=b"), 3, "expected NAME or NAME=WEIGHT"),
        (("--prompt-tokens", "x"), 3, "expected N, or N~SIGMA"),
    ],
)
def test_refuses_what_makes_no_sense(options, status, reason, tmp_path):
    """Options that are wrong or contradict each other end it before anything is sent, and it says why."""
    done = load("http://127.0.0.1:9/v1", *options, "--out", tmp_path / "out")
    assert done.returncode == status, done.stderr
    assert reason in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("nonsense", (), "is not the URL of an API"),
        ("http://127.0.0.1:9/v1", ("--api-key-env", "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE is not set"),
        ("http://127.0.0.1:9/v1", ("--trace", __file__), "found .py, expected one of"),
    ],
)
def test_what_cannot_be_sent_leaves_with_3(url, options, reason, tmp_path):
    """What turns out only in the generator's process is an error of one line, and no verdict: neither 0, 1 nor 2."""
    done = load(url, *options, "--duration", 1, "--out", tmp_path / "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "out").exists()
