"""The estimate of tokens, and the texts that are generated to fit it."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tailrace.simulator import tokens
from tailrace.simulator.api_request import ParsedRequest
from tailrace.simulator.text import Length, generate


@given(st.text())
def test_a_text_has_as_many_pieces_as_tokens(text):
    """A text splits into as many pieces as it has tokens, and the pieces join to the text."""
    assert len(tokens.pieces(text)) == tokens.count(text)
    assert "".join(tokens.pieces(text)) == text


@given(st.binary(min_size=32, max_size=32), st.integers(1, 200), st.integers(1, 40) | st.none())
def test_a_generated_text_has_as_many_tokens_as_pieces(digest, length, limit):
    """A generated text stays within the limit, and tells whether the limit truncated it."""
    text = generate(ParsedRequest({}, digest, length), 0, Length(limit=limit))
    assert tokens.count("".join(text.pieces)) == len(text.pieces)
    assert limit is None or len(text.pieces) <= limit
    natural = generate(ParsedRequest({}, digest, length), 0)
    assert max(1, length // 2) <= len(natural.pieces) <= length // 2 + length + 1
    assert text.truncated == (len(text.pieces) < len(natural.pieces))


def test_choices_differ_from_their_first_words():
    """Two choices of one request, and one choice of two requests, begin with different words."""
    one, two = ParsedRequest({}, b"1" * 32, 16), ParsedRequest({}, b"2" * 32, 16)
    starts = {"".join(generate(q, i).pieces[:4]) for q in (one, two) for i in (0, 1)}
    assert len(starts) == 4


@pytest.mark.parametrize(
    ("content", "counted"),
    [("12345678", 2), ([{"type": "text", "text": "1234"}, {"type": "image_url"}], 1), (None, 0), ([], 0)],
)
def test_only_texts_of_a_message_count(content, counted):
    """Texts count wherever they are in a message; images and empty contents do not."""
    assert tokens.count_content(content) == counted


def test_cached_tokens_are_whole_blocks_of_long_prompts_with_a_key():
    """Only a prompt of 1,024 tokens with a prompt_cache_key has cached tokens, in blocks of 128."""
    assert tokens.cached(1_100, {"prompt_cache_key": "k"}) == 1_024
    assert tokens.cached(1_100, {}) == 0
    assert tokens.cached(1_023, {"prompt_cache_key": "k"}) == 0
