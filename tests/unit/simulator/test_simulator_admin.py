"""Who may use the admin path."""

import ipaddress

import pytest

from tailrace.simulator.admin import trusted


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_trusted(peer):
    """All addresses of the loopback, IPv4 in IPv6 included."""
    assert trusted(peer)


@pytest.mark.parametrize(
    "peer", ["192.0.2.7", "10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "fe80::1%eth0", "", "localhost"]
)
def test_everything_else_is_not(peer):
    """Other addresses, and what is no address, are refused."""
    assert not trusted(peer)


@pytest.mark.parametrize(
    ("peer", "let"), [("10.0.0.1", True), ("::ffff:10.0.0.1", True), ("10.0.0.2", False), ("127.0.0.1", True)]
)
def test_who_else_is_named_is_trusted_and_nobody_beside(peer, let):
    """The gateway of a container's network is one address; its neighbours stay out, and the loopback stays in."""
    assert trusted(peer, [ipaddress.ip_network("10.0.0.1")]) is let
