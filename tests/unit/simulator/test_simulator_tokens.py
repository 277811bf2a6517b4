"""The estimate of tokens, and the texts that are made to fit it."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tailrace.simulator import answers, tokens
from tailrace.simulator.answers import Question


@given(st.text())
def test_pieces_are_as_many_as_were_counted_and_lose_nothing(text):
    """A text cut into pieces has as many as it has tokens, and joins to itself."""
    assert len(tokens.pieces(text)) == tokens.count(text)
    assert "".join(tokens.pieces(text)) == text


@given(st.binary(min_size=32, max_size=32), st.integers(1, 200), st.integers(1, 40) | st.none())
def test_an_answer_has_as_many_tokens_as_pieces(digest, length, limit):
    """A written answer counts as the number of its pieces, never above the limit, and says when it was cut."""
    text = answers.write(Question({}, digest, length), 0, limit)
    assert tokens.count("".join(text.pieces)) == len(text.pieces)
    assert limit is None or len(text.pieces) <= limit
    natural = answers.write(Question({}, digest, length), 0, None)
    assert max(1, length // 2) <= len(natural.pieces) <= length // 2 + length + 1
    assert text.cut == (len(text.pieces) < len(natural.pieces))


def test_choices_differ_and_begin_with_the_mark_of_the_request():
    """Two choices of one request, and one choice of two requests, are different texts from their first words."""
    one, two = Question({}, b"1" * 32, 16), Question({}, b"2" * 32, 16)
    starts = {"".join(answers.write(q, i, None).pieces[:4]) for q in (one, two) for i in (0, 1)}
    assert len(starts) == 4


@pytest.mark.parametrize(
    ("content", "counted"),
    [("12345678", 2), ([{"type": "text", "text": "1234"}, {"type": "image_url"}], 1), (None, 0), ([], 0)],
)
def test_only_texts_of_a_message_count(content, counted):
    """Texts count wherever they stand in a message; pictures and nothing count nothing."""
    assert tokens.count_content(content) == counted


def test_cached_tokens_are_whole_blocks_of_long_prompts_with_a_key():
    """Only a prompt of 1,024 tokens and a prompt_cache_key is called cached, in blocks of 128."""
    assert tokens.cached(1_100, {"prompt_cache_key": "k"}) == 1_024
    assert tokens.cached(1_100, {}) == 0
    assert tokens.cached(1_023, {"prompt_cache_key": "k"}) == 0
