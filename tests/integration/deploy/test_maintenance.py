"""The maintenance page: who gets what, what it leaves alone, and what it is not mistaken for."""

import json
import re
import urllib.error
import urllib.request

import pytest

from tailrace.deploy.edge import Maintenance
from tailrace.deploy.edge.maintenance import MAX_PAGE_BYTES
from tailrace.errors import DeployError
from tailrace.host import processes, waiting


def ask(url, method="GET", **headers):
    """Return the status, the headers and the body of an answer."""
    sent = urllib.request.Request(url, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(sent, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "closed.html"
    content = "<h1>Grüße, 100 % closed 😀</h1>\r\n%REQ(host)%\n".encode()
    path.write_bytes(content + b"." * (MAX_PAGE_BYTES - len(content)))  # the longest that is allowed
    return path


def test_users_get_the_page_and_callers_of_an_api_an_error_in_json(deployment, release, page):
    """Each with 503, Retry-After and the header that says why; the instance is not asked, and stays healthy."""
    d = deployment()
    d.up(release(d, name="first"))
    assert d.maintenance_on(Maintenance.of(120, page)).state == "done"
    asked = d.counters().colours["blue"].total
    status, headers, body = ask(d.url, accept="text/html,application/json;q=0.1")
    assert (status, headers["retry-after"], headers["x-tailrace-maintenance"]) == (503, "120", "on")
    assert (headers["content-type"], body) == ("text/html; charset=utf-8", page.read_bytes().decode())
    for accepted in ({"accept": "Application/JSON"}, {"accept": "*/*", "content_type": "application/json"}):
        status, headers, body = ask(d.url + "/v1/chat/completions", method="POST", **accepted)
        assert (status, headers["retry-after"], headers["content-type"]) == (503, "120", "application/json")
        error = json.loads(body)["error"]
        assert error["code"] == "maintenance"
        assert {"message", "type", "param", "code"} == set(error)
    status, headers, _ = ask(d.url, method="POST", content_type="application/grpc")
    assert (status, headers["grpc-status"]) == (200, "14")
    assert d.counters().colours["blue"].total == asked
    slot = d.status().slot("blue")
    assert (slot.live, slot.ready, slot.healthy) == (True, True, True)
    assert d.maintenance_off().state == "done"
    assert ask(d.url)[::2] == (200, "first")


def test_maintenance_is_no_failure_and_no_pause(deployment, release):
    """It is counted apart; the negative control is a 500 of the service, which is a failure."""
    d = deployment()
    d.up(release(d))
    before = d.counters()
    d.maintenance_on(Maintenance.of(60))
    for _ in range(5):
        assert ask(d.url)[0] == 503
    counted = d.counters().since(before)
    assert (counted.maintained, counted.failed, counted.requests) == (5, 0, 5)
    status = d.status()
    assert (status.maintenance, status.paused) == (True, False)
    assert status.since == [e.at for e in d.journal.entries() if e.state == "maintenance"][-1]
    with pytest.raises(DeployError, match="the maintenance page is on, so no request comes that could be held"):
        d.pause(5)
    d.maintenance_off()
    assert (d.status().maintenance, d.status().since) == (False, "")
    assert ask(d.url + "/error")[0] == 500
    counted = d.counters().since(before)
    assert (counted.maintained, counted.failed) == (5, 1)
    d.pause(5)
    status = d.status()
    assert (status.maintenance, status.paused, bool(status.since)) == (False, True, True)
    d.unpause()


@pytest.mark.fault(
    "deploy during maintenance",
    "the maintenance page, before, during and after it",
    "503 with the page; `status`: maintenance since …; the new release was proved behind it",
    "`tailrace maintenance off`",
)
def test_a_deploy_behind_the_page_is_proved_and_users_keep_the_page(deployment, release, load):
    """The switch goes through all its states, and no user sees either colour before `off`."""
    d = deployment()
    d.up(release(d, name="first"))
    d.maintenance_on(Maintenance.of(60))
    with load(d.url, streams=0) as traffic:
        switched = d.switch(release(d, name="second"))
        processes.kill(processes.find(d.folder / "processes", d.serving.name))  # its supervisor, too: it stays dead
        assert waiting.until(lambda: traffic.sent > 50, 60)
    assert switched.to_colour == "green"
    assert set(traffic.outcomes) == {"503"}
    assert d.status().maintenance
    with pytest.raises(DeployError, match="nothing serves, so the maintenance page stays"):
        d.maintenance_off()
    d.up(release(d, name="third"))
    d.maintenance_off()
    assert ask(d.url)[::2] == (200, "third")


@pytest.mark.deep
def test_a_service_that_answers_with_errors_stays_behind_the_page(deployment, release, monkeypatch):
    """Users keep the page until what serves is healthy at the edge; then the same command opens the door."""
    from tailrace.deploy import front_door

    monkeypatch.setattr(front_door, "START_TIMEOUT_S", 1.0)
    d = deployment()
    d.up(release(d))
    d.maintenance_on(Maintenance.of(60))
    d.engine.freeze(d.serving)
    assert waiting.until(lambda: not d.status().slot("blue").healthy, 60)
    with pytest.raises(DeployError, match="is not healthy at the edge"):
        d.maintenance_off()
    assert ask(d.url)[1]["x-tailrace-maintenance"] == "on"
    d.engine.thaw(d.serving)
    assert waiting.until(lambda: d.status().slot("blue").healthy, 60)
    assert d.maintenance_off().state == "done"
    assert ask(d.url)[0] == 200


def test_the_page_survives_the_edge_and_a_damaged_route_file(deployment, release, page):
    """The new edge begins with it, a mended file holds it; `down` ends it."""
    d = deployment()
    d.up(release(d))
    d.maintenance_on(Maintenance.of(7, page))
    d.edge.server.stop()
    d.up(release(d))
    assert ask(d.url)[2] == page.read_bytes().decode()
    d.upgrade_edge()
    assert ask(d.url)[2] == page.read_bytes().decode()
    damaged = d.edge.folder / "damaged"
    damaged.write_text("resources: [")
    damaged.rename(d.edge.folder / "routes.yaml")
    d.resume()
    assert ask(d.url)[2] == page.read_bytes().decode()
    assert d.edge.routes().maintenance == Maintenance.of(7, page)
    d.down()
    d.up(release(d))
    assert ask(d.url)[0] == 200


def test_the_page_can_be_put_up_when_a_controller_died_and_when_nothing_serves(deployment, release, killed):
    """That is when it is needed; without an edge, the command says what to do."""
    d = deployment()
    with pytest.raises(DeployError, match="no edge that could show a page; use `deploy`"):
        d.maintenance_on(Maintenance.of(60))
    d.up(release(d))
    killed(d, release(d, name="second"), "smoked:reached:after")
    d.engine.kill(d.serving)
    assert d.maintenance_on(Maintenance.of(60)).state == "done"
    assert d.maintenance_on(Maintenance.of(60)).state == "nothing"
    assert ask(d.url)[1]["x-tailrace-maintenance"] == "on"
    d.abort()
    assert ask(d.url)[1]["x-tailrace-maintenance"] == "on"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("page.png", b"x", r"ends in '\.png'; expected \.html, \.htm, \.txt, \.json"),
        ("page.html", b"x" * 65_537, r"has 65,537 bytes; expected 1 to 65,536"),
        ("page.html", b" \n", "has 2 bytes"),
        ("page.html", b"\xff", "cannot be read as UTF-8"),
        ("page.json", b"{", "is not JSON"),
    ],
    ids=["type", "too-long", "empty", "binary", "not-json"],
)
def test_a_page_that_cannot_be_sent_is_refused(tmp_path, name, content, reason):
    """With the fact and the limit; the negative control is the largest that is allowed."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DeployError, match=reason) as refused:
        Maintenance.of(60, tmp_path / name)
    assert re.search(re.escape(str(tmp_path / name)), str(refused.value))
    (tmp_path / "whole.txt").write_bytes(b"x" * 65_536)
    assert len(Maintenance.of(60, tmp_path / "whole.txt").page) == 65_536
