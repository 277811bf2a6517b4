"""Tokens as providers count them."""

import pytest

from tailrace.protocol.usage import MOST_TOKENS, Usage, counted, usage

CHAT = {"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
RESPONSES = {"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 4},
             "output_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip


@pytest.mark.parametrize("document", [{"usage": CHAT}, {"usage": RESPONSES}, {"response": {"usage": RESPONSES}}])
def test_tokens_are_read_by_the_names_of_each_api(document):
    """Cached and reasoning tokens are counted apart, whatever the API calls them."""
    assert usage(document) == Usage(True, 9, 5, 4, 2)


COUNTS = [
    ({"prompt_tokens": 7.0, "completion_tokens": 3.0}, Usage(True, 7, 3)),
    ({"prompt_tokens": 7}, Usage(True, 7)),
    ({"prompt_tokens": 7, "prompt_tokens_details": None, "completion_tokens_details": []}, Usage(True, 7)),
    ({"prompt_tokens": 7, "prompt_cache_hit_tokens": 3}, Usage(True, 7, 0, 3)),
    ({"prompt_tokens": 10**30, "completion_tokens": 2**31}, Usage(True, MOST_TOKENS, MOST_TOKENS)),
    ({"prompt_tokens": True, "completion_tokens": False}, Usage()),
    ({"prompt_tokens": "many", "completion_tokens": float("inf")}, Usage()),
    ({"prompt_tokens": -1, "completion_tokens": float("nan")}, Usage()),
    ({}, Usage()),
    (None, Usage()),
    ([7], Usage()),
]


@pytest.mark.parametrize(("counts", "expected"), COUNTS)
def test_odd_counts_are_read_or_refused(counts, expected):
    """Floats count; truth values, words, negative and infinite numbers do not; huge ones are cut to what fits."""
    assert counted(counts) == expected
