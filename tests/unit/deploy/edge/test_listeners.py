"""What each door of the edge lets through, as far as its document says it; the rest is in the conformance table."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.deploy.edge import listeners
from tailrace.profile import EdgeSettings

WORDS = st.text("abc/.-", min_size=1, max_size=4)


@given(st.lists(WORDS, max_size=4), WORDS)
def test_the_expression_matches_every_word_but_those_it_was_made_of(words, other):
    """So Envoy ignores each upgrade that it does not pass, and none that it passes."""
    expression = re.compile(listeners.none_of(words))
    assert not any(expression.fullmatch(word) for word in words)
    assert bool(expression.fullmatch(other)) == (other not in words)


def test_signs_of_regular_expressions_stand_for_themselves():
    """A name of an upgrade may hold them."""
    expression = re.compile(listeners.none_of(["a.c^", "$+]-"]))
    assert not expression.fullmatch("a.c^")
    assert not expression.fullmatch("$+]-")
    assert expression.fullmatch("abc^")


@pytest.mark.parametrize(
    ("settings", "hops"),
    [
        ({}, 1),
        ({"host": "localhost"}, 1),
        ({"host": "::1"}, 1),
        ({"host": "0.0.0.0"}, 0),
        ({"host": "10.0.0.1"}, 0),
        ({"trusted_hops": 0}, 0),
        ({"host": "0.0.0.0", "trusted_hops": 2}, 2),
    ],
)
def test_only_an_edge_on_loopback_trusts_who_asks_it_unless_it_is_told(settings, hops):
    """Nobody else reaches it: a proxy in front, or a program of this machine."""
    assert EdgeSettings.model_validate(settings).hops == hops
