"""Generated text: as many words as asked for, and equal exactly where it should be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tailrace.load.prompts import BLOCK, FRESH, POPULAR, WORDS, Vocabulary

NUMBERS = st.integers(0, (1 << 30) - 1)
VOCABULARY = Vocabulary(7)


def test_the_words_are_short_and_different():
    """256 words of three letters: with its space a word has the four characters of one token of the simulator."""
    assert len(WORDS) == len(set(WORDS)) == 256
    assert {len(word) for word in WORDS} == {3}


@given(NUMBERS, st.integers(1, 20_000))
def test_a_text_has_its_number_of_words(n: int, words: int):
    """Each length is met exactly, and a shorter text is the start of a longer one."""
    text = VOCABULARY.text(FRESH, n, words)
    assert len(text.split()) == words
    assert set(text.split()) <= set(WORDS)
    assert VOCABULARY.text(FRESH, n, words + 3).startswith(text)


@given(NUMBERS, NUMBERS, st.sampled_from([FRESH, POPULAR]))
def test_no_two_texts_begin_alike(one: int, two: int, kind: int):
    """The first four words are those of one number of one kind."""
    mark = VOCABULARY.text(kind, one, 4)
    assert (VOCABULARY.text(kind, two, 4) == mark) is (one == two)
    assert VOCABULARY.text(BLOCK, one, 4) != mark


def test_short_texts_differ_from_their_neighbours():
    """Even two words are enough for 65,536 texts in a row."""
    assert len({VOCABULARY.text(FRESH, n, 2) for n in range(65_536)}) == 65_536


def test_another_seed_is_another_text():
    """The seed changes the words of a number."""
    assert Vocabulary(8).text(FRESH, 5, 50) != VOCABULARY.text(FRESH, 5, 50)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.integers(1, 40), st.integers(1, 500))
def test_blocks_share_what_their_ids_share(ids: list[int], block: int, words: int):
    """Prompts with equal leading ids have equal leading blocks; another id is another text from its place on."""
    text = VOCABULARY.blocks(tuple(ids), block, words).split()
    other = VOCABULARY.blocks((*ids[:-1], ids[-1] + 100), block, words).split()
    assert len(text) == len(other) == words
    shared = min((len(ids) - 1) * block, words)
    assert text[:shared] == other[:shared]
    if words > shared:
        assert text != other


def test_fewer_words_still_make_different_marks():
    """A vocabulary of 16 words needs eight of them for a mark, and gives as many different texts."""
    few = Vocabulary(1, WORDS[:16])
    assert len({few.text(FRESH, n, 8) for n in range(5_000)}) == 5_000
    assert set(few.text(FRESH, 3, 500).split()) <= set(WORDS[:16])
