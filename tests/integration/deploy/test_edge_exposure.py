"""What of a service, and of the edge itself, is not on the front door unless the profile asks for it."""

import dataclasses
import http.client

import pytest

from tailrace.deploy import Deployment
from tailrace.errors import ProfileError
from tailrace.host import ports, waiting
from tailrace.host.http import FAILURES, exchange

SPELLINGS = ["/metrics", "//metrics", "/metrics?a=b", "/%6detrics", "/x/../metrics", "/metrics/", "/METRICS"]


def status(address, path, **headers):
    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    try:
        connection.putrequest("GET", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def reopened(d, **edge):
    settings = d.profile.edge.model_copy(update=edge)
    return Deployment.open(d.profile.model_copy(update={"edge": settings}), d.folder.parent)


def test_metrics_are_not_on_the_front_door_and_asking_for_them_is_no_failure(deployment, release):
    """However they are spelled. The instance shows them, and so does the front door of a profile that asks for it."""
    d = deployment()
    built = release(d)
    d.up(built)
    door, before = d.edge.layout.ingress, d.counters()
    assert {path: status(door, path) for path in SPELLINGS} == dict.fromkeys(SPELLINGS, 404)
    assert status(door, "/metrics", Upgrade="websocket", Connection="upgrade") == 404
    assert status(door, "/v1/metrics") == 200
    assert status(d.serving.address, "/metrics") == 200
    counted = waiting.until(
        lambda: c if (c := d.counters().since(before)).completed == len(SPELLINGS) + 2 else None, 60
    )
    assert (counted.failed, counted.maintained, counted.colours["blue"].total) == (0, 0, 1)
    shown = reopened(d, hidden_paths=())
    assert "applied: edge.hidden_paths" in shown.deploy(built, {}).fact
    assert status(door, "/metrics") == 200


def test_the_edge_shows_its_counters_at_a_port_of_their_own_and_nothing_else_there(deployment, release):
    """Where the profile names one: the page for Prometheus, and no other path of its admin."""
    d = deployment(edge={"metrics_port": ports.free()})
    d.up(release(d))
    url = d.edge.layout.metrics.url
    assert b"envoy_http_downstream_rq_total" in exchange(f"{url}/stats/prometheus").body
    others = [
        "/",
        "/stats",
        "/quitquitquit",
        "/config_dump",
        "/stats/prometheus/../../quitquitquit",
        "/stats/prometheus/",
    ]
    assert {path: exchange(url + path, "POST").status for path in others} == dict.fromkeys(others, 404)
    assert d.status().serving == "blue"
    door = d.edge.layout.ingress
    assert [status(door, path) for path in ("/stats/prometheus", "/quitquitquit")] == [200, 200]  # of the service


def test_an_edge_beyond_loopback_is_not_started_until_the_profile_says_so(deployment, release):
    """Nothing is left running. Negative control: it listens there, once the profile says so."""
    d = deployment()
    built = release(d)
    far = reopened(d, host="0.0.0.0")
    with pytest.raises(ProfileError, match="beyond loopback"):
        far.deploy(built, {})
    assert (far.is_up, far.running()) == (False, [])
    near = reopened(d, host="0.0.0.0", open=True)
    near.up(built)
    assert near.edge.layout.ingress.host == "0.0.0.0"
    assert exchange(f"http://127.0.0.1:{near.edge.layout.ingress.port}/").status == 200
    with pytest.raises(ProfileError):
        dataclasses.replace(far).upgrade_edge()
    near.down()
    with pytest.raises(FAILURES):
        exchange(f"http://127.0.0.1:{near.edge.layout.ingress.port}/")
