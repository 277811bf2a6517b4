"""The simulator as a process: its first line, its responses across restarts, its log, its exit."""

import asyncio
import json
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

import httpx2
import pytest

from tailrace.simulator import Fault, Latency, Settings, listening
from tailrace.simulator.latency import Pace

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name a bird."}]}
FAST = ("--ttft-s", "0", "--token-s", "0")
MODULE = [sys.executable, "-m", "tailrace.simulator"]


def content(simulator, headers=None, **fields):
    answer = simulator.http.post(f"{simulator.url}/chat/completions", json={**CHAT, **fields}, headers=headers)
    return answer.content


def test_answers_repeat_across_processes_and_change_with_the_seed(start, tmp_path):
    """Two simulators with one seed answer byte for byte the same, whole and streamed; another seed does not."""
    answers = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        folder = tmp_path / name
        folder.mkdir()
        with start(folder, *FAST, "--seed", seed) as simulator:
            answers.append((content(simulator), content(simulator, stream=True)))
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[2][0]
    assert answers[0][1] != answers[2][1]


def test_an_answer_depends_on_the_whole_request(simulator):
    """Another credential, model, temperature or unknown parameter gets another text; the same gets the same."""

    def text(headers=None, **fields):
        return json.loads(content(simulator, headers, **fields))["choices"][0]["message"]["content"]

    one = {"authorization": "Bearer one"}
    texts = [
        text(), text(one), text({"authorization": "Bearer two"}), text(one, model="gpt-4o"), text(one, temperature=0),
        text(one, temperature=1.0), text(one, top_k=1), text(one, user="u"),
        text({**one, "openai-organization": "o"}),
    ]  # fmt: skip
    assert len(set(texts)) == len(texts)
    assert text(one) == texts[1]


def test_the_log_holds_each_request_with_times_that_the_caller_can_check(start, tmp_path):
    """Every request is one line, found by its id, and its times lie between the caller's send and receive."""
    seen = {}
    with start(tmp_path, "--ttft-s", "0.02", "--token-s", "0.001") as simulator:
        for number in range(20):
            headers = {"x-request-id": f"call-{number}"}
            begin_ns = time.perf_counter_ns()
            content(simulator, headers, stream=bool(number % 2))
            seen[f"call-{number}"] = (begin_ns, time.perf_counter_ns())
    lines = simulator.accesses()
    assert [line["request_id"] for line in lines] == list(seen)
    for line in lines:
        begin_ns, end_ns = seen[line["request_id"]]
        order = [begin_ns, line["arrival_ns"], line["start_ns"], line["ttfb_ns"], line["end_ns"], end_ns]
        assert order == sorted(order)
        assert (line["status"], line["outcome"]) == (200, "complete")
        assert line["chunks"] == (line["out_tok"] if line["stream"] else 0)


@pytest.mark.alone
def test_latencies_are_those_of_the_seed(start, tmp_path):
    """The logged waits follow the seeded sequence; none is shorter by more than a timer's resolution (1 ms)."""
    pace = Pace(Latency(ttft_s=0.05, ttft_sigma=0.4, token_s=0), 5)
    with start(tmp_path, "--seed", "5", "--ttft-s", "0.05", "--ttft-sigma", "0.4", "--token-s", "0") as simulator:
        for _ in range(40):
            content(simulator)
    took_ms = [(line["ttfb_ns"] - line["start_ns"]) / 1e6 for line in simulator.accesses()]
    lag_ms = [took - 1e3 * pace.first_s() for took in took_ms]
    assert min(lag_ms) > -1
    assert statistics.median(lag_ms) < 25


def test_no_line_of_the_log_holds_the_credential_or_the_prompt(start, tmp_path):
    """The log has neither credentials nor content."""
    secret = "sk-" + "a" * 30
    with start(tmp_path, *FAST) as simulator:
        content(simulator, {"authorization": f"Bearer {secret}"})
    text = simulator.log.read_text()
    assert text.count("\n") == 1
    assert secret not in text
    assert "bird" not in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_complete(start, tmp_path, number):
    """A request in flight gets its response, a new connection is refused, and the exit status is 0."""
    answers = []
    with start(tmp_path, "--ttft-s", "1", "--ttft-sigma", "0") as simulator:
        url = f"{simulator.url}/chat/completions"
        thread = threading.Thread(target=lambda: answers.append(httpx2.post(url, json=CHAT)))
        thread.start()
        simulator.until_in_flight(1)
        simulator.process.send_signal(number)
        time.sleep(0.1)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(url)
        thread.join()
        assert simulator.process.wait(60) == 0
    assert answers[0].status_code == 200


def test_a_signal_does_not_wait_for_a_hang(start, tmp_path):
    """A request that hangs is cut after two seconds, and logged without a status."""
    failed = []

    def hang(url):
        with pytest.raises(httpx2.RemoteProtocolError):
            httpx2.post(f"{url}/chat/completions", json=CHAT, timeout=300)
        failed.append(True)

    with start(tmp_path, *FAST, "--fault", "kind=hang") as simulator:
        thread = threading.Thread(target=hang, args=(simulator.url,))
        thread.start()
        simulator.until_in_flight(1)
        begin = time.monotonic()
        simulator.process.terminate()
        assert simulator.process.wait(60) == 0
        assert 1.5 < time.monotonic() - begin < 60
        thread.join()
        (line,) = simulator.accesses()
    assert failed
    assert (line["status"], line["outcome"], line["ttfb_ns"]) == (0, "left", 0)


def test_options_are_checked_before_it_listens():
    """An invalid fault or an unknown option ends with exit status 2 and a message."""
    for options, message in (
        (["--fault", "kind=flood"], "kind"),
        (["--fault", "probability"], "kind"),
        (["--x"], "--x"),
    ):
        done = subprocess.run([*MODULE, *options], capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stdout == ""


def test_a_port_that_is_taken_is_reported():
    """The message names host, port and reason, without a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*MODULE, "--port", str(port)], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_faults_of_the_command_line_are_set(start, tmp_path):
    """--fault may be repeated, and reads numbers and patterns."""
    options = ("--fault", "kind=error500,sequence=10,count=2", "--fault", "kind=rate_limit,after=3,retry_after_s=0.5")
    with start(tmp_path, *FAST, *options) as simulator:
        url = f"{simulator.url}/chat/completions"
        assert [simulator.http.post(url, json=CHAT).status_code for _ in range(5)] == [500, 200, 500, 429, 429]


def raw(simulator, data, until=b""):
    """Send bytes; return what is received until the end or until `until`."""
    received = b""
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=60) as connection:
        connection.sendall(data)
        while not (until and until in received) and (more := connection.recv(65_536)):
            received += more
    return received


def test_pipelined_requests_are_answered_in_order(simulator):
    """Three requests in one packet get three responses, the last of which closes the connection."""
    head = "GET /v1/models/{} HTTP/1.1\r\nhost: x\r\n{}\r\n"
    data = head.format("gpt-4", "") + head.format("none", "") + head.format("gpt-4o", "connection: close\r\n")
    received = raw(simulator, data.encode())
    places = [received.index(mark) for mark in (b'"gpt-4"', b"model_not_found", b'"gpt-4o"')]
    assert places == sorted(places)
    assert received.count(b"HTTP/1.1 ") == 3


def test_a_malformed_request_is_a_400(simulator):
    """Garbage gets a 400 and its connection is closed; the simulator goes on."""
    assert raw(simulator, b"\x16\x03\x01garbage\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert content(simulator)


def test_an_http_1_0_stream_ends_with_its_connection(simulator):
    """Without chunked encoding the end of the stream is the end of the connection."""
    body = json.dumps({**CHAT, "stream": True})
    head = f"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {len(body)}\r\n\r\n"
    received = raw(simulator, (head + body).encode())
    assert received.endswith(b"data: [DONE]\n\n")
    assert b"transfer-encoding" not in received


def test_a_large_body_is_accepted_and_a_larger_one_refused(simulator):
    """`Expect: 100-continue` is answered; more than 32 MiB is a 413."""
    body = json.dumps(CHAT)
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n"
    assert raw(simulator, head.format(len(body)).encode(), until=b"\r\n\r\n").startswith(b"HTTP/1.1 100 Continue")
    chunked = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2000001\r\n"
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=60) as connection:
        connection.sendall(chunked)
        connection.sendall(b" " * 0x2000001)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_it_runs_in_the_callers_event_loop_without_uvloop():
    """`listening` serves in asyncio's own loop: responses, streams, and real resets."""

    async def body():
        settings = Settings(latency=Latency(ttft_s=0.001))
        async with listening(settings) as server, httpx2.AsyncClient() as http:
            for stream in (False, True):
                answer = await http.post(f"{server.url}/chat/completions", json={**CHAT, "stream": stream})
                assert answer.status_code == 200
            server.provider.script.set([Fault(kind="reset")])
            with pytest.raises(httpx2.ReadError):
                await http.post(f"{server.url}/chat/completions", json=CHAT)
        return server.access_log.describe()["by_outcome"]

    assert asyncio.run(body()) == {"complete": 2, "reset": 1}


def test_it_imports_nothing_of_the_notebooks():
    """The package and its command load without pandas and the like, so that an image can hold it."""
    heavy = ["pandas", "numpy", "matplotlib", "papermill", "pyarrow", "yaml"]
    code = f"import sys, tailrace.simulator.command; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout.strip() == "[]"
