"""What the edge itself made of a request is told apart from what an instance answered, and from a client that left."""

import dataclasses

import pytest

from tailrace.deploy.edge import Counters
from tailrace.deploy.edge.endings import Ending, answered, read


def ending(name: str) -> Ending:
    (found,) = read([{"name": f"tailrace.ended.of.{name}", "value": 3}, {"name": "server.uptime", "value": 1}])
    return found


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("blue.status.503.flags.UH", "503: no healthy upstream, of blue"),
        ("blue.status.503.flags.URX,UF", "503: connection refused, of blue"),
        ("green.status.503.flags.UO", "503: too many waiting, of green"),
        ("blue.status.504.flags.UT", "504: no answer in time, of blue"),
        ("blue.status.503.flags.UC", "503: connection closed by the instance, of blue"),
        ("green.status.200.flags.UPE", "200 cut off: answer broken by the instance, of green"),
        (".status.426.flags.DPE", "426: request not accepted"),
        ("blue.status.403.flags.-", "403: refused, of blue"),
        ("-.status.404.flags.NR", "404: no route"),
    ],
)
def test_a_failure_that_the_edge_made_is_told_with_its_reason(name, text):
    """Each of Envoy's response flags that a user may meet has its words."""
    assert (ending(name).failed, str(ending(name))) == (True, text)


@pytest.mark.parametrize(
    "name",
    [
        "blue.status.0.flags.DC",
        "blue.status.200.flags.DR",
        "blue.status.101.flags.UC",
        ".status.400.flags.DPE",
        ".status.431.flags.DPE",
    ],
)
def test_what_is_no_failure_of_the_edge_is_none(name):
    """The client left, an upgraded connection was closed, or the request was no HTTP: negative controls."""
    assert not ending(name).failed
    assert not ending(name).cut


def test_an_upgraded_connection_that_the_instance_closed_is_lost_where_it_was_stopped():
    """It is no failure by itself, and it is one of those that a drain's deadline cuts."""
    upgraded = ending("blue.status.101.flags.UC")
    assert (upgraded.broken, upgraded.failed) == (True, False)


def counters(t_s: float = 0, requests: int = 0, uptime_s: int = 100, edge: int = 0, **made: int) -> Counters:
    endings = {ending(name.replace("_", ".")): count for name, count in made.items()}
    numbers = int(t_s * 1e9), requests, requests, 0, 0, 0, 0, 7, 0, 0, 0, {}
    return Counters(*numbers, endings, {"blue": 2}, uptime_s, edge)


def test_what_an_instance_answered_itself_is_apart():
    """Envoy's counters of a cluster have both, and the probes' as well."""
    stats = [{"name": "tailrace.answered.of.blue", "value": 2}, {"name": "tailrace.answered.of.x", "value": 9}]
    assert answered(stats, ("blue", "green")) == {"blue": 2, "green": 0}
    assert read(stats) == {}
    assert counters(9, 9, 109).since(counters()).by_instance == {}


def test_an_ending_counts_once_between_two_readings():
    """What was there before is left out."""
    earlier = counters(blue_status_503_flags_UH=5)
    assert counters(1, 9, 101, blue_status_503_flags_UH=5).since(earlier).endings == {}
    assert list(counters(1, 9, 101, blue_status_503_flags_UH=6).since(earlier).endings.values()) == [1]


@pytest.mark.parametrize(
    "later", [{"requests": 3}, {"uptime_s": 30}, {"edge": 1}], ids=["fewer requests", "too young", "upgraded"]
)
def test_an_edge_that_began_anew_is_seen(later):
    """Its counters began at zero; the difference is all that it has, and says so. Negative control: the same edge."""
    earlier = counters(0, 500, 100, blue_status_503_flags_UH=5)
    same = {"t_s": 60, "requests": 800, "uptime_s": 160}
    assert not counters(**same).since(earlier).restarted
    anew = counters(**(same | later))
    assert anew.since(earlier) == dataclasses.replace(anew, restarted=True)


def test_the_end_of_a_process_that_was_replaced_is_no_new_beginning():
    """Until then Envoy adds its uptime to that of the new one; one that is younger than the time between is new."""
    earlier = counters(0, 500, 140)
    assert not counters(10, 510, 50).since(earlier).restarted
    assert counters(10, 510, 8).since(earlier).restarted
