"""How a target counts, and the names that it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tailrace.load.counting import AnswerLength, Counting


@given(st.integers(1, 5000), st.integers(1, 7))
def test_words_and_an_end_make_each_length(tokens: int, word_tok: int):
    """With ends of 1, 2, … tokens, words of several tokens make every length from one word on."""
    counting = Counting(word_tok=word_tok, fillers=tuple("." * n for n in range(1, word_tok)))
    words, end = counting.fit(tokens)
    assert words * word_tok + len(end) == max(tokens, word_tok)


@given(st.integers(50, 5000), st.floats(0.8, 3.0))
def test_an_average_meets_the_length_within_half_a_word(tokens: int, word_tok: float):
    """Where words count a fraction on average, the nearest number of words is taken."""
    words, end = Counting(word_tok=word_tok).fit(tokens)
    assert end == ""
    assert abs(words * word_tok - tokens) <= word_tok / 2 + 1e-6


def test_the_template_is_counted_for_each_message():
    """A request costs its own tokens once, and those of a message for each."""
    assert Counting(request_tok=3, message_tok=4).overhead(3) == 15
    assert Counting().overhead(3) == 0


def test_lengths_are_asked_for_by_the_names_of_the_target():
    """The endpoint's name by default; what was learned instead; exactness only where the target takes it."""
    assert AnswerLength().fields(9, "max_output_tokens") == {"max_output_tokens": 9}
    learned = AnswerLength("max_completion_tokens", ("ignore_eos", "min_tokens"))
    assert learned.fields(9, "max_tokens") == {"max_completion_tokens": 9, "ignore_eos": True, "min_tokens": 9}


def test_words_come_from_the_vocabulary():
    """Words that no prompt is made of are refused."""
    with pytest.raises(ValidationError, match="not in the vocabulary"):
        Counting(words=("hello",))
