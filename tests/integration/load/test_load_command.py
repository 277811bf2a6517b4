"""`tailrace load` as a user runs it."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

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


class Listener(http.server.BaseHTTPRequestHandler):
    """Answers a chat completion, and keeps head and body of each request."""

    heard: ClassVar[list[tuple[dict[str, str], dict]]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
        answer = json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def listener():
    """Return the URL of a server that keeps what it hears."""
    Listener.heard.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join(30)


def command_lines(process: psutil.Process) -> str:
    """Return the arguments of a process and of its children."""
    with contextlib.suppress(psutil.Error):
        return " ".join(word for one in (process, *process.children(recursive=True)) for word in one.cmdline())
    return ""


def test_a_secret_in_a_header_is_sent_and_never_written_down(listener, tmp_path):
    """The server hears its value; no file, no output and no argument of a process holds it."""
    secret, out, seen = "pearl-7261", tmp_path / "out", ""
    command = [
        *COMMAND, listener, "--rate", "10", "--duration", "2", "--no-floor", "--out", str(out),
        "--header", "x-key=$A_SECRET", "--header", "Authorization=Bearer ${A_SECRET}", "--header", "x-team=search",
        "--extra-body", '{"top_k": 5}',
    ]  # fmt: skip
    environment = {**os.environ, "A_SECRET": secret}
    with ended(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        while process.poll() is None:
            seen += command_lines(psutil.Process(process.pid))
            time.sleep(0.1)
        seen += process.communicate(timeout=60)[0].decode()
    head, body = Listener.heard[0]
    assert (head["x-key"], head["authorization"], head["x-team"]) == (secret, f"Bearer {secret}", "search")
    assert body["top_k"] == 5
    assert "${A_SECRET}" in seen, "the command lines were read"
    assert secret not in seen
    written = [path for path in out.rglob("*") if path.is_file()]
    assert len(written) >= 3
    assert [path.name for path in written if secret.encode() in path.read_bytes()] == []


def test_the_rehearsal_makes_prompts_and_answers_as_long_as_planned(tmp_path):
    """A target that adds a chat template and wants max_completion_tokens gets both, as its own counts say."""
    out = tmp_path / "out"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        more = ("--prompt-tokens", 64, "--max-tokens", 20, "--no-floor", "--json")
        exact = json.loads(load(url, "--rate", 20, "--duration", 1, "--out", out, *more).stdout)
        guessed = json.loads(load(url, "--rate", 20, "--duration", 1, "--out", out, "--no-rehearse", *more).stdout)
        server.shutdown()
    tokens = exact["groups"][0]["tokens"]
    assert (tokens["in_deviation"], tokens["out_deviation"], exact["deviations"]) == (0, 0, [])
    assert any("takes max_completion_tokens" in finding for finding in exact["findings"])
    assert guessed["errors_by_type"] == {"http_400": 20}, "without the rehearsal nobody knows"


class Counter(Listener):
    """Counts a token a word and nine for its chat template, and refuses `max_tokens`, as reasoning models do."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        words = sum(len(message["content"].split()) for message in body["messages"])
        usage = {"prompt_tokens": words + 9, "completion_tokens": body.get("max_completion_tokens", 7)}
        good = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}], "usage": usage}
        refused = "max_tokens" in body
        bad = {"error": {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}}
        answer = json.dumps(bad if refused else good).encode()
        self.send_response(400 if refused else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Echo(Listener):
    """Refuses everything, and repeats the key that it was sent, as some gateways do."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        answer = json.dumps({"error": {"message": f"invalid key {self.headers['x-key']}"}}).encode()
        self.send_response(400)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def test_a_target_that_repeats_a_secret_is_quoted_without_it(tmp_path, monkeypatch):
    """What the target says in the rehearsal is shown with the name of the variable in place of its value."""
    monkeypatch.setenv("A_SECRET", "pearl-7261")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, out = f"http://127.0.0.1:{server.server_port}/v1", tmp_path / "out"
        done = load(url, "--header", "x-key=$A_SECRET", "--rate", 10, "--duration", 1, "--no-floor", "--out", out)
        server.shutdown()
    assert "invalid key ${A_SECRET}" in done.stderr
    assert "pearl" not in done.stdout + done.stderr
    assert [path.name for path in out.iterdir() if b"pearl" in path.read_bytes()] == []


def test_a_secret_that_is_missing_is_refused_by_its_name(tmp_path):
    """Nothing is sent, and nothing is left behind."""
    done = load("http://127.0.0.1:9/v1", "--header", "x-key=$NOT_SET_ANYWHERE", "--out", tmp_path / "out")
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "environment variable NOT_SET_ANYWHERE is not set" in done.stderr
    assert not (tmp_path / "out").exists()
