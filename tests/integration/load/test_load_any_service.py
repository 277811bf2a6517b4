"""`tailrace load` at a service that is not ours: keys in headers, fields of its own, its own way to count tokens."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import subprocess
import threading
import time
from typing import ClassVar

import psutil
import pytest
from tests.integration.load.test_load_command import COMMAND, ended, load


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


class Silent(Listener):
    """Takes a request, and never answers."""

    def do_POST(self):
        self.heard.append(({}, {}))
        time.sleep(120)


def test_ctrl_c_in_the_rehearsal_leaves_nothing(tmp_path):
    """Nothing was measured: status 130, a line, and no folder."""
    Listener.heard.clear()
    out = tmp_path / "out"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [*COMMAND, f"http://127.0.0.1:{server.server_port}/v1", "--rate", "10", "--out", str(out)]
        with ended(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            deadline = time.monotonic() + 60
            while not Listener.heard and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        server.shutdown()
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert not out.exists()
