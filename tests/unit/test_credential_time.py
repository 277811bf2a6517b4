"""The search for credentials takes a time that grows with the text, whatever the text: no input makes it quadratic."""

import re
import time

import pytest

from credential_examples import EXAMPLES
from depth import scaled
from tailrace import credentials

BYTES = 4 << 10
GROWTH = 16
"""A quadratic pattern takes 256 times as long for a text that is 16 times as long; the limit lies between the two."""
LIMIT = 5 * GROWTH
FLOOR_S = 2e-4
"""A shorter time says nothing: a text of which a pattern skips everything."""
SEPARATORS = ("", "-", ".", " ", "/", "://", "\n", "eyJ-")


def growth(search, unit, size=BYTES):
    """Return how many times as long `search` takes for 16 times the text, in CPU time; the best of three."""
    small = unit * (size // len(unit))

    def took_s(text):
        started = time.thread_time()
        search(text)
        return time.thread_time() - started

    best = took_s(small * GROWTH) / max(FLOOR_S, took_s(small))
    for _ in range(2 if best > LIMIT else 0):
        best = min(best, took_s(small * GROWTH) / max(FLOOR_S, took_s(small)))
    return best


def units(example):
    """Return texts that, repeated, make a search begin again and again, and fail late."""
    cuts = scaled({1, 2, 3, 4, 5, 8, 12, 16, len(example) // 2, len(example) - 1}, {3, 4, len(example) // 2})
    return [example[:cut] + separator for cut in sorted(cuts) for separator in SEPARATORS]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_no_repeated_beginning_of_a_credential_makes_a_search_quadratic(kind):
    """Beginnings of a credential, repeated with what may stand between them: each pattern alone."""
    for unit in {unit for example in EXAMPLES[kind] for unit in units(example)}:
        assert growth(credentials.PATTERNS[kind].findall, unit) < LIMIT, unit


@pytest.mark.parametrize(
    "unit",
    ["a.", "a", "a:", "a@", "://", "://a:", "://:", "bearer ", "bearer", " ", "-----BEGIN ", "-----BEGIN A ", "?key=",
     "&", "?a_", "?a-key=", "eyJ-", "eyJ.", "-eyJ", "\x1b", "é", "sk-", "sk-sk-"],
)  # fmt: skip
def test_neither_finding_nor_masking_is_quadratic(unit):
    """All patterns together, over texts of one thing that is repeated."""
    assert growth(lambda text: list(credentials.find(text)), unit) < LIMIT
    assert growth(credentials.masked, unit) < LIMIT


def test_a_quadratic_pattern_is_seen():
    """The negative control: the pattern that once held a run up for minutes."""
    former = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/@]{3,}@")
    assert growth(former.findall, "a.", BYTES // 4) > LIMIT
