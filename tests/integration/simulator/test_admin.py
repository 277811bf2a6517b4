"""The admin API: its responses, and the callers that it refuses."""

import socket

import httpx2
import psutil
import pytest

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name a bird."}]}


def elsewhere() -> str:
    """Return an address of this machine outside the loopback; "" if there is none."""
    addresses = [a.address for all_of in psutil.net_if_addrs().values() for a in all_of if a.family is socket.AF_INET]
    return next((address for address in addresses if not address.startswith("127.")), "")


def test_a_peer_from_elsewhere_is_refused_and_changes_nothing(simulator):
    """A call from another address than loopback gets 403 on every admin path; the models are open to it."""
    address = elsewhere()
    if not address:
        pytest.skip("this machine has no address but the loopback")
    with httpx2.Client(transport=httpx2.HTTPTransport(local_address=address)) as http:
        assert http.get(f"{simulator.url}/models").status_code == 200
        for method, path in (("PUT", "faults"), ("GET", "stats"), ("POST", "reset"), ("GET", "none")):
            answer = http.request(method, f"{simulator.base}/admin/{path}", json=[{"kind": "outage"}])
            assert answer.status_code == 403
            assert address in answer.json()["error"]["message"]
    assert simulator.admin("GET", "faults") == []


@pytest.mark.parametrize("header", ["x-forwarded-for", "via", "forwarded", "origin"])
def test_a_proxied_call_is_refused(simulator, header):
    """A call that a proxy or a browser sends from loopback is not a direct one."""
    answer = simulator.http.get(f"{simulator.base}/admin/stats", headers={header: "x"})
    assert answer.status_code == 403
    assert simulator.http.get(f"{simulator.base}/admin/stats").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("faults", [{"kind": "flood"}], "0.kind"),
        ("faults", {"kind": "outage"}, "body"),
        ("faults", [{"kind": "quota", "retry_after_s": 1}], "only for error503, outage, rate_limit"),
        ("latency", {"ttft_s": -1}, "ttft_s"),
        ("latency", {"ttft": 1}, "ttft"),
    ],
)
def test_an_invalid_body_is_refused_and_changes_nothing(simulator, path, body, message):
    """It is a 400 that names the problem, and the earlier faults stay."""
    simulator.faults({"kind": "outage"})
    before = simulator.admin("GET", path)
    answer = simulator.http.put(f"{simulator.base}/admin/{path}", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["error"]["message"]
    assert simulator.admin("GET", path) == before


def test_unknown_paths_and_wrong_methods_are_errors(simulator):
    """404 for an unknown path, 405 for a wrong method, both with an error in JSON."""
    for method, path, status in (("GET", "/admin/none", 404), ("POST", "/admin/faults", 405), ("GET", "/", 404)):
        answer = simulator.http.request(method, simulator.base + path)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_stats_count_calls_and_not_the_admin(simulator):
    """Requests are counted by path, status and outcome; admin and health calls are not."""
    simulator.faults({"kind": "error500", "count": 1})
    for _ in range(3):
        simulator.http.post(f"{simulator.url}/chat/completions", json=CHAT)
    simulator.http.get(f"{simulator.url}/models/gpt-4")
    simulator.http.get(f"{simulator.url}/none")
    simulator.http.get(f"{simulator.base}/healthz")
    assert simulator.admin("GET", "stats") == {
        "requests": 5,
        "in_flight": 0,
        "by_path": {"/v1/chat/completions": 3, "/v1/models/{id}": 1, "other": 1},
        "by_status": {"200": 3, "404": 1, "500": 1},
        "by_outcome": {"complete": 5},
        "faults": {"error500": 1},
    }


def test_faults_report_their_counts_and_reset_clears_them(simulator):
    """Each fault reports what it has seen and met; reset restores faults, counts and latency."""
    simulator.faults({"kind": "error500", "sequence": "01"})
    simulator.admin("PUT", "latency", {"ttft_s": 0.001})
    for _ in range(4):
        simulator.http.post(f"{simulator.url}/chat/completions", json=CHAT)
    (fault,) = simulator.admin("GET", "faults")
    assert (fault["seen"], fault["met"], fault["active"]) == (4, 2, True)
    assert simulator.admin("POST", "reset")["requests"] == 0
    assert simulator.admin("GET", "faults") == []
    assert simulator.admin("GET", "latency")["ttft_s"] == 0


def test_a_network_named_at_the_start_is_admitted(start, tmp_path):
    """An address in the network of --admin-from is admitted, another one is refused."""
    address = elsewhere()
    if not address:
        pytest.skip("this machine has no address but the loopback")
    named = ("--ttft-s", "0", "--token-s", "0", "--admin-from")
    for allowed, status in ((f"{address}/32", 200), ("192.0.2.1", 403)):
        with (
            start(tmp_path, *named, allowed) as simulator,
            httpx2.Client(transport=httpx2.HTTPTransport(local_address=address)) as http,
        ):
            assert http.get(f"{simulator.base}/admin/stats").status_code == status
            assert simulator.admin("GET", "stats")["requests"] == 0
