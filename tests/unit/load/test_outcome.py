"""Exceptions have classes."""

import ssl

import pytest

from tailrace.load.outcome import of_exception


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(), "connect"),
        (OSError(113, "no route"), "connect"),
        (ssl.SSLCertVerificationError(), "tls"),
        (TimeoutError(), "timeout"),
        (ConnectionResetError(), "reset"),
        (BrokenPipeError(), "reset"),
        (KeyError("x"), "sender_KeyError"),
    ],
)
def test_class_of_an_exception(error, expected):
    """Network errors have the network's names, anything else is the sender's."""
    assert of_exception(error) == expected
