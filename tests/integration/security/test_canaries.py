"""Marked secrets go in by every way, and are found only where the threat model says."""

import base64
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from itertools import count
from urllib.parse import quote

import pytest
import yaml

from depth import scaled
from pages import QuietHandler, serving

EACH = scaled(15, 2)
"""Canaries by each way but the service's own key: 106 in all."""
ACTS = "\x1b[2J\x1b]0;title\x07\u202e\x9b31m"
"""Clears a screen, sets a title, turns the direction of text."""
NUMBERS = count(1)

# Says its secrets on every channel that a service has: its log, its answers, their headers.
TALKATIVE = """
import http.server, os, sys
held = " ".join(value for name, value in sorted(os.environ.items()) if name.startswith("CANARY"))
print("starting with", held, "{acts}", flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"ok" if self.path == "/healthz" else f"no {{held}} {{self.headers.get('x-team')}} {acts}".encode()
        self.send_response(200 if self.path == "/healthz" else 500)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a):
        print("asked with", self.headers.get("x-team"), flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def canary(way):
    """Return a secret that looks like none: only its value can be recognised."""
    return f"zebra-{way}-quartz/{next(NUMBERS)}+{os.urandom(4).hex()}"


def canaries(way):
    return [canary(way) for _ in range(EACH)]


def places(text, marked):
    """Return those of `marked` that are in `text`: plain, quoted, in JSON or in base64."""
    forms = {value: (value, quote(value, safe=""), value.replace("/", "\\/"), base64.b64encode(value.encode()).decode())
             for value in marked}  # fmt: skip
    return {value for value, written in forms.items() if any(form in text for form in written)}


def files(folder, marked):
    """Return the paths, relative to `folder`, of the files that hold one of `marked`."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(p.relative_to(folder)) for p in found if places(p.read_bytes().decode("utf-8", "replace"), marked)}


class Echo(QuietHandler):
    """A provider that repeats everything that it gets: in refusals, in answers, in streams, in headers."""

    def do_GET(self):
        self.answered(200, b'{"object": "list", "data": []}', "application/json")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers["authorization"].removeprefix("Bearer ")
        said = f"no {key} {quote(key, safe='')} {base64.b64encode(f'user:{key}'.encode()).decode()} for {self.path}"
        message = {"role": "assistant", "content": f"{key} {body['messages'][0]['content']}"}
        choice = {"index": 0, "finish_reason": "stop"}
        if body["model"] == "refuses":
            self.answered(401, json.dumps({"error": {"message": said}}).encode(), "application/json")
        elif body.get("stream"):
            chunk = {"id": "1", "object": "chat.completion.chunk", "choices": [{**choice, "delta": message}]}
            text = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
            self.answered(200, text, "text/event-stream")
        else:
            answer = {"id": "1", "object": "chat.completion", "choices": [{**choice, "message": message}]}
            self.answered(200, json.dumps(answer).encode(), "application/json", key)

    def answered(self, status, body, content_type, echo=""):
        self.send_response(status)
        for name, value in {"content-type": content_type, "content-length": len(body), "x-echo": echo}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def service(provider, key, log):
    """Run the service in front of `provider` with `key`; yield its URL."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    environment = {**kept, "TAILRACE_PROVIDER_URL": f"{provider}/v1", "OPENAI_API_KEY": key}
    command = [sys.executable, "-m", "tailrace.service", "--port", "0"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        yield re.search(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def asked(url, caller, content, model, stream, query):
    """Return everything that a caller gets: status, headers and body as one text."""
    document = {"model": model, "stream": stream, "messages": [{"role": "user", "content": content}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions?key={quote(query, safe='')}", json.dumps(document).encode(),
        {"authorization": f"Bearer {caller}", "cookie": f"session={caller}", "content-type": "application/json"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return f"{answer.status} {answer.headers} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.headers} {error.read().decode()}"


def test_the_service_gives_its_key_to_no_caller_and_logs_nothing_of_them(tmp_path):
    """Refusals, answers, streams and headers that repeat the key; callers' credentials, queries and prompts."""
    key, log = canary("key"), tmp_path / "stderr"
    callers, prompts, queries = (canaries(way) for way in ("caller", "prompt", "query"))
    with serving(Echo) as provider, service(provider, key, log) as url:
        for caller, prompt, query in zip(callers, prompts, queries, strict=True):
            for model, stream in (("refuses", False), ("refuses", True), ("m", False), ("m", True)):
                got = asked(url, caller, prompt, model, stream, query)
                assert "[value of OPENAI_API_KEY]" in got, "the provider did repeat the key"
                assert not places(got, {key, caller}), got
                assert not places(got, (set(prompts) | set(queries) | set(callers)) - {prompt, query}), got
        with urllib.request.urlopen(f"{url}/metrics", timeout=60) as page:
            metrics = page.read().decode()
    marked = {key, *callers, *prompts, *queries}
    assert not places(metrics, marked)
    assert not places(log.read_text(), marked)
    assert '"event":"request"' in log.read_text(), "the log has a line for each request"


@pytest.fixture
def project(tmp_path):
    """A project whose service says all of its secrets, and its environment with canaries."""
    (tmp_path / "runbook" / "profiles").mkdir(parents=True)
    (tmp_path / "runbook" / "plan.yaml").write_text("steps: []\n")
    (tmp_path / "talkative.py").write_text(TALKATIVE.format(acts=ACTS.encode("unicode_escape").decode()))
    ways = {"CANARY_{}": "secret", "CANARY_HEADER_{}": "header", "CANARY_HOOK_{}": "hook", "OTHER_{}_TOKEN": "other"}
    named = {name.format(n): canary(way) for name, way in ways.items() for n in range(EACH)}
    of = {way: [name for name, value in named.items() if f"-{way}-" in value] for way in ways.values()}
    hook = {"command": ["sh", "-c", "env; exit 1"], "secrets": of["hook"], "on_failure": "ignore"}
    profile = {
        "service": {
            "command": [sys.executable, "talkative.py", "{port}"], "secrets": of["secret"],
            "headers": {"x-team": " ".join(f"${{{name}}}" for name in of["header"])},
            "health": {"live": "/healthz", "ready": "/healthz", "startup": "/healthz"}, "smoke": [{"path": "/"}],
        },
        "rollout": {"bake_s": 0.5, "settle_s": 0, "hooks": {"before_deploy": hook}},
    }  # fmt: skip
    (tmp_path / "runbook" / "profiles" / "local.yaml").write_text(yaml.safe_dump(profile))

    def call(*arguments):
        command = [sys.executable, "-m", "tailrace", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **named}, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    yield tmp_path, call, named
    call("down")


def test_a_deployment_keeps_and_shows_no_secret(project):
    """A service that prints and answers its secrets is refused, and nothing but its own log has them afterwards."""
    root, call, named = project
    marked = set(named.values())
    state, said = root / ".tailrace" / "local", []
    status, text = call("deploy")
    assert status == 1
    assert "failed smoke test" in text
    assert re.search(r"credentials in .*processes/blue-\d+\.log: value of CANARY_", text)
    said.append(text)
    more = [("history", "--json"), ("status",), ("status", "--json")]
    for command in (*scaled(more, []), ("history",), ("logs", "--colour", "blue")):
        said.append(call(*command)[1])
    assert "starting with [value of CANARY_0]" in said[-1], "the log is shown, masked"
    for text in said:
        assert not places(text, marked), text
        assert not set(text) & set(ACTS) - set("[2J]0;title31m"), repr(text)
    logs = {str(path.relative_to(state)) for path in (state / "processes").glob("blue-*.log*")}
    assert logs, "the control: what the service wrote is there"
    assert files(state, marked) <= logs | {path for path in files(state, marked) if "hook" in path}
    assert files(root, marked) <= {f".tailrace/local/{path}" for path in files(state, marked)}
    journal = (state / "journal.jsonl").read_text()
    assert "[value of CANARY_" in journal
    assert not places(journal, marked)


def test_a_canary_is_found_where_nothing_masks(tmp_path):
    """The negative control: the same search finds one in each form, in a text and in a file."""
    value = canary("control")
    for form in (value, quote(value, safe=""), value.replace("/", "\\/"), base64.b64encode(value.encode()).decode()):
        (tmp_path / "found").write_text(f"x{form}y")
        assert places(f"x{form}y", {value, "other"}) == {value}
        assert files(tmp_path, {value}) == {"found"}
    assert files(tmp_path, {"other"}) == set()
