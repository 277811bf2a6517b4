"""Every fault as the real SDK sees it, with the control that nothing fails without it."""

import socket
import threading
import time
from collections import Counter

import httpx2
import openai
import pytest

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name a bird."}]}


def chat(client):
    return client.chat.completions.create(**CHAT)


def stream(client):
    return client.chat.completions.create(**CHAT, stream=True)


def post(simulator, **fields):
    return simulator.http.post(f"{simulator.url}/chat/completions", json={**CHAT, **fields})


@pytest.mark.parametrize("call", [chat, stream])
@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ({"kind": "rate_limit"}, openai.RateLimitError, "rate_limit_exceeded"),
        ({"kind": "quota"}, openai.RateLimitError, "insufficient_quota"),
        ({"kind": "error500"}, openai.InternalServerError, None),
        ({"kind": "error503"}, openai.InternalServerError, None),
        ({"kind": "outage"}, openai.InternalServerError, None),
        ({"kind": "reset"}, openai.APIConnectionError, None),
        ({"kind": "hang"}, openai.APITimeoutError, None),
        ({"kind": "hang", "hold_s": 0.05}, openai.APIConnectionError, None),
        ({"kind": "malformed"}, ValueError, None),
    ],
)
def test_a_fault_is_raised_and_ends_with_its_count(ask, simulator, call, fault, error, code):
    """One request fails as the fault says; the one before it and the one after it succeed."""
    simulator.faults({**fault, "after": 1, "count": 1})
    assert ask(call)
    with pytest.raises(error) as caught:
        ask(call, timeout=0.8 if error is openai.APITimeoutError else 60)
    assert getattr(caught.value, "code", None) == code
    assert ask(call)
    assert simulator.admin("GET", "stats")["faults"] == {fault["kind"]: 1}


def test_a_rate_limit_has_a_retry_after_and_an_exhausted_quota_has_none(simulator):
    """429 carries Retry-After in whole seconds and in milliseconds; insufficient_quota carries none."""
    simulator.faults({"kind": "rate_limit", "retry_after_s": 1.25, "count": 1}, {"kind": "quota"})
    limited, exhausted = post(simulator), post(simulator)
    # The second fault saw the first request, too, but the first fault won.
    assert (limited.status_code, exhausted.status_code) == (429, 429)
    assert (limited.headers["retry-after"], limited.headers["retry-after-ms"]) == ("2", "1250")
    assert "retry-after" not in exhausted.headers
    assert exhausted.json()["error"]["type"] == "insufficient_quota"


@pytest.mark.parametrize("kind", ["error503", "outage"])
def test_a_503_has_a_retry_after_only_if_the_fault_sets_one(simulator, kind):
    """Retry-After on a 503 is an option of the fault."""
    simulator.faults({"kind": kind, "retry_after_s": 2, "count": 1}, {"kind": kind})
    assert [post(simulator).headers.get("retry-after") for _ in range(2)] == ["2", None]


def test_an_outage_includes_the_list_of_models_and_an_error_does_not(simulator):
    """During an outage /v1/models is a 503, but the simulator's own health check is not."""

    def models():
        return simulator.http.get(f"{simulator.url}/models").status_code

    simulator.faults({"kind": "error503"})
    assert models() == 200
    simulator.faults({"kind": "outage"})
    assert models() == 503
    assert simulator.http.get(f"{simulator.base}/healthz").json() == {"status": "ok"}


def test_an_outage_ends_after_its_duration(simulator):
    """A fault with a duration ends by itself."""
    simulator.faults({"kind": "outage", "duration_s": 0.3})
    assert post(simulator).status_code == 503
    time.sleep(0.35)
    assert post(simulator).status_code == 200


def send_raw(simulator, **fields):
    """Send one request on a bare socket; return the bytes received, and how the connection ended."""
    request = httpx2.Request("POST", f"{simulator.url}/chat/completions", json={**CHAT, **fields})
    lines = [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    head = "".join(["POST /v1/chat/completions HTTP/1.1\r\n", *lines, "connection: close\r\n\r\n"])
    received = b""
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=60) as connection:
        connection.sendall(head.encode() + request.read())
        try:
            while data := connection.recv(65_536):
                received += data
        except ConnectionResetError:
            return received, "reset"
        return received, "end"


def test_a_reset_is_a_reset(simulator):
    """The caller's kernel reports a TCP reset, before any byte or in the middle of a stream."""
    simulator.faults({"kind": "reset"})
    assert send_raw(simulator) == (b"", "reset")
    simulator.faults({"kind": "reset", "chunks": 2})
    received, ended = send_raw(simulator, stream=True)
    assert (received.count(b'"content":"') - 1, ended) == (2, "reset")


def test_a_cut_is_an_end_without_a_reset_and_without_a_terminator(simulator):
    """A cut stream stops after its chunks; a complete one, the control, has its terminator and last chunk."""
    simulator.faults({"kind": "cut_stream", "chunks": 3, "count": 1}, {"kind": "cut_stream", "clean": True, "after": 1,
                                                                       "count": 1})  # fmt: skip
    cut, clean, whole = (send_raw(simulator, stream=True) for _ in range(3))
    assert [ended for _, ended in (cut, clean, whole)] == ["end"] * 3
    assert cut[0].count(b'"content":"') - 1 == 3
    assert [b"[DONE]" in received for received, _ in (cut, clean, whole)] == [False, False, True]
    assert [received.endswith(b"\r\n0\r\n\r\n") for received, _ in (cut, clean, whole)] == [False, True, True]


def test_the_sdk_raises_on_a_cut_and_does_not_notice_a_clean_cut(ask, simulator):
    """A stream that ends inside its HTTP message is an error; one in a complete message only lacks its finish."""
    simulator.faults({"kind": "cut_stream"})
    with pytest.raises(openai.APIConnectionError):
        ask(stream)
    simulator.faults({"kind": "cut_stream", "clean": True})
    chunks = ask(stream)
    assert chunks
    assert all(chunk.choices[0].finish_reason is None for chunk in chunks)
    simulator.admin("DELETE", "faults")
    assert ask(stream)[-1].choices[0].finish_reason == "stop"


def test_faults_of_streams_do_not_apply_to_other_requests(ask, simulator):
    """cut_stream and slow_stream ignore a request that is not streamed."""
    simulator.faults({"kind": "cut_stream"}, {"kind": "slow_stream", "delay_s": 5})
    assert ask(chat)
    assert [fault["seen"] for fault in simulator.admin("GET", "faults")] == [0, 0]


def elapsed_s(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def test_slow_waits_before_the_answer_and_slow_stream_before_every_chunk(ask, simulator):
    """The delays are at least the configured ones; without a fault there are none."""
    assert elapsed_s(lambda: post(simulator, stream=True)) < 1.0
    simulator.faults({"kind": "slow", "delay_s": 1.0})
    assert elapsed_s(lambda: ask(chat)) >= 1.0
    simulator.faults({"kind": "slow_stream", "delay_s": 0.05})
    waits = []
    assert elapsed_s(lambda: waits.append(ask(stream))) >= 0.05 * (len(waits[0]) - 2)


def test_a_hang_ends_when_the_client_leaves(ask, simulator):
    """After the client's timeout nothing is in flight, and the log says that the client left."""
    simulator.faults({"kind": "hang"})
    with pytest.raises(openai.APITimeoutError):
        ask(chat, timeout=0.2)
    simulator.until_in_flight(0)
    stats = simulator.admin("GET", "stats")
    assert stats["in_flight"] == 0
    assert (stats["by_outcome"], stats["by_status"]) == ({"left": 1}, {"0": 1})


def test_probability_repeats_when_the_same_faults_are_set_again(simulator):
    """Equal faults apply to the same requests, about as many as the probability says."""

    def statuses():
        simulator.faults({"kind": "error500", "probability": 0.3})
        return [post(simulator).status_code for _ in range(100)]

    first = statuses()
    assert first == statuses()
    assert 10 <= first.count(500) <= 50


def test_faults_are_switched_under_load_and_no_request_is_lost(simulator):
    """Eight clients get 200, then only 503 during the outage, then 200; nothing else."""
    statuses: Counter[tuple[str, int]] = Counter()
    phase, stop = ["before"], threading.Event()

    def load():
        with httpx2.Client() as http:
            while not stop.is_set():
                began = phase[0]
                status = http.post(f"{simulator.url}/chat/completions", json=CHAT).status_code
                statuses[began if began == phase[0] else "between", status] += 1

    def until_counted(name, count=100, within_s=60.0):
        deadline = time.monotonic() + within_s
        while sum(number for (began, _), number in list(statuses.items()) if began == name) < count:
            assert time.monotonic() < deadline, f"fewer than {count} requests {name} the outage in {within_s:g} s"
            time.sleep(0.01)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for name, change in (("outage", {"kind": "outage"}), ("after", None)):
        until_counted(phase[0])
        phase[0] = "switching"
        simulator.faults(*([change] if change else []))
        phase[0] = name
    until_counted("after")
    stop.set()
    for thread in threads:
        thread.join()
    kinds = {key for key in statuses if key[0] not in ("between", "switching")}
    assert kinds == {("before", 200), ("outage", 503), ("after", 200)}
    assert {status for _, status in statuses} == {200, 503}
    assert simulator.admin("GET", "stats")["requests"] == statuses.total()


def test_latency_is_switched_while_running(simulator):
    """A new latency holds for the next request; fields that are not given stay."""
    assert elapsed_s(lambda: post(simulator)) < 1.0
    changed = simulator.admin("PUT", "latency", {"ttft_s": 1.0, "ttft_sigma": 0})
    assert (changed["ttft_s"], changed["token_s"]) == (1.0, 0)
    assert elapsed_s(lambda: post(simulator)) >= 0.999
    simulator.admin("POST", "reset")
    assert elapsed_s(lambda: post(simulator)) < 1.0
