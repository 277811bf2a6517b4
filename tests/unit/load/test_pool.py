"""Addresses: which URLs are those of an API, what their request lines say, and which address of a host is reached."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.errors import LoadError
from tailrace.load.pool import Pool, parse

HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("http://h/v1", "/chat/completions", "/v1/chat/completions"),
        ("https://h/openai/?api-version=1&x=%20", "/chat", "/openai/chat?api-version=1&x=%20"),
        ("http://h?a=1", "/search?q=2", "/search?q=2&a=1"),
        ("http://h/a b?c d", "/é", "/a%20b/%C3%A9?c%20d"),
    ],
)
def test_target(url: str, path: str, target: str):
    """The path of the request is below the URL's, and the URL's query is kept behind it."""
    assert parse(url).target(path) == target


def test_host():
    """Names in other scripts are sent as they are resolved; ports that are the scheme's own are left out."""
    assert parse("http://bücher.example:80/").authority == "xn--bcher-kva.example"
    assert parse("https://[::1]:8443").authority == "[::1]:8443"


@pytest.mark.parametrize(
    "url", ["ftp://h", "h:80", "http://", "http://u:p@h", "http://h:99999", "http://[::1", "http://a..b"]
)
def test_no_url_of_an_api(url: str):
    """Anything else is refused in words."""
    with pytest.raises(LoadError, match="expected http"):
        parse(url)


@given(st.text(max_size=20), st.text(max_size=20))
def test_nothing_ends_the_request_line_too_early(path: str, query: str):
    """Whatever a URL holds, its target has no blank and no line break, and fits into a head."""
    try:
        target = parse(f"http://h/{path}?{query}").target("/x")
    except LoadError:
        return
    assert target.isascii()
    assert not any(mark in target for mark in " \r\n\t")


def addresses(*hosts: str) -> list[tuple[int, int, int, str, tuple[str, int]]]:
    families = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
    return [(family, socket.SOCK_STREAM, 6, "", (host, 0)) for family, host in zip(families, hosts, strict=True)]


@contextmanager
def deaf(host: str, port: int) -> Iterator[None]:
    """An address that never answers: its queue of connections is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((host, port))
        listener.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex((host, port))
        yield


def reached(*hosts: str, times: int = 1) -> list[str]:
    """Connect to a host with these addresses, where only 127.0.0.1 answers; return the addresses that were reached."""

    async def go(port: int) -> list[str]:
        loop, looked_up = asyncio.get_running_loop(), []

        async def getaddrinfo(*_: object, **__: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
            looked_up.append(1)
            return [(*info[:4], (info[4][0], port)) for info in addresses(*hosts)]

        loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign, assignment]
        pool = Pool(parse(f"http://several.example:{port}"), None, 10)
        connections = [await asyncio.wait_for(pool.acquire(), 60) for _ in range(times)]
        peers = [one._transport.get_extra_info("peername")[0] for one in connections]
        assert len(looked_up) == 1
        assert {info[4][0] for info in pool._hosts[:1]} == set(peers), "the one that answered is tried first"
        for one in connections:
            one.close()
        await asyncio.sleep(0)  # so that the transports end
        return peers

    with socket.create_server((HERE, 0)) as listener:
        port = listener.getsockname()[1]
        with deaf("127.0.0.3", port):
            return asyncio.run(go(port))


@pytest.mark.parametrize(
    "first", [pytest.param("2001:db8::1", id="no-route"), pytest.param("127.0.0.2", id="refused"), "127.0.0.3"]
)
def test_the_second_address_is_reached(first: str):
    """Where the first has no route, refuses or never answers."""
    assert reached(first, HERE, times=2) == [HERE, HERE]


def test_every_address_is_tried():
    """The one that answers may be the last."""
    assert reached("2001:db8::1", "127.0.0.2", "127.0.0.3", HERE) == [HERE]


def test_no_address_that_answers_is_an_error():
    """The tests above can fail: without an address that answers there is no connection, but the network's error."""
    with pytest.raises(OSError, match="Connect call failed"):
        reached("2001:db8::1", "127.0.0.2")
