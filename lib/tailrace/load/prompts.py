"""Text of a given length: plain words, about one token each."""

from __future__ import annotations

from functools import lru_cache

from tailrace.load.lengths import uniform

BLOCK_TOKENS = 512
"""Tokens in one block of a Mooncake trace."""
_CORPUS_WORDS = 4096
_SYLLABLES = ("ra", "ne", "to", "li", "mu", "sa", "ke", "do", "vi", "po", "ha", "gu", "be", "fo", "ti", "wa")


class Vocabulary:
    """Words drawn from a seed: the same seed gives the same text."""

    def __init__(self, seed: int) -> None:
        # Blocks repeat, and a long prompt has a hundred: without a cache, building them would delay the schedule.
        self._block = lru_cache(maxsize=4096)(lambda one: self.words(f"block {one}", BLOCK_TOKENS, one))
        self._corpus = [_word(uniform(seed, n, 11)) for n in range(_CORPUS_WORDS)]

    def words(self, lead: str, tokens: int, n: int) -> str:
        """Return `lead`, extended with words to about `tokens` tokens."""
        missing = max(0, tokens - len(lead.split()))
        start = n * 7919 % _CORPUS_WORDS
        chosen = self._corpus[start : start + missing]
        while len(chosen) < missing:
            chosen = chosen + self._corpus[: missing - len(chosen)]
        return " ".join([lead, *chosen])

    def blocks(self, ids: tuple[int, ...], tokens: int) -> str:
        """Return a prompt of blocks: equal leading ids give equal leading text."""
        full = [self._block(one) for one in ids[:-1]]
        rest = max(2, tokens - BLOCK_TOKENS * len(full))
        return " ".join([*full, self.words(f"block {ids[-1]}", min(rest, BLOCK_TOKENS), ids[-1])])


def _word(at: float) -> str:
    number = int(at * len(_SYLLABLES) ** 3)
    first, second, third = number % 16, number // 16 % 16, number // 256
    return _SYLLABLES[first] + _SYLLABLES[second] + (_SYLLABLES[third] if third % 2 else "")
