"""Servers that close a connection after an answer without having said so."""

import urllib.error
import urllib.request


def statuses(d, times=20):
    """Return the status of each of so many requests, one after the other."""
    found = []
    for _ in range(times):
        try:
            with urllib.request.urlopen(f"{d.url}/", timeout=20) as answer:
                found.append(answer.status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
    return found


def test_a_connection_for_each_request_meets_none_that_is_being_closed(deployment, release):
    """Each request is answered by a server that closes a connection at its second request."""
    d = deployment(edge={"reuse_connections": False})
    d.up(release(d, closes=1))
    assert statuses(d) == [200] * 20


def test_on_a_connection_that_is_used_again_a_request_is_lost(deployment, release):
    """The negative control: with the default the same server's warm-up has failures, and so have users."""
    d = deployment(smoke=())
    d.up(release(d))
    assert statuses(d) == [200] * 20
    d.down()
    lossy = deployment(smoke=(), warmup={"min_requests": 0, "max_requests": 0})
    lossy.up(release(lossy, closes=1))
    assert 503 in statuses(lossy)
