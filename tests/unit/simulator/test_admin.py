"""The addresses that may use the admin path."""

import ipaddress

import pytest

from tailrace.simulator.admin import trusted


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_trusted(peer):
    """Every loopback address is trusted, IPv4 in IPv6 included."""
    assert trusted(peer)


@pytest.mark.parametrize(
    "peer", ["192.0.2.7", "10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "fe80::1%eth0", "", "localhost"]
)
def test_no_other_address_is_trusted(peer):
    """Other addresses, and texts that are not an address, are refused."""
    assert not trusted(peer)


@pytest.mark.parametrize(
    ("peer", "expected"), [("10.0.0.1", True), ("::ffff:10.0.0.1", True), ("10.0.0.2", False), ("127.0.0.1", True)]
)
def test_a_named_network_is_trusted_and_its_neighbours_are_not(peer, expected):
    """Only the named address is added to the loopback, as the gateway of a container's network."""
    assert trusted(peer, [ipaddress.ip_network("10.0.0.1")]) is expected
