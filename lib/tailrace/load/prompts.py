"""Generated text of an exact number of words, each of which most tokenizers read as one token."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice, repeat
from typing import Final

from tailrace.load.lengths import uniform

# Common words of three letters: one token each, with the space before it or at the start, by cl100k, o200k and
# Anthropic's tokenizer; four characters with the space, which is one token for the simulator.
_LIST = """
act add age ago aid aim air all and any arc are arm art ash ask axe bad bag ban bar bat bay bed bee beg bet bid
big bit bow box boy bug bus but buy cab can cap car cat cod cop cow cry cue cup cut dad dam day den did dig dim
dog dot dry due ear eat egg ego elf end era eve eye fan far fat fee few fig fin fit fix flu fly for fox fun gap
gas gel gem get got had ham has hat hay hen her him hip his hit hop hot how hub ice ill ink inn its jam jar jet
job joy jug key kid kit lab lad lag lap law lay led leg let lid lie lip lit lob log lot low mad man map mat may
men mid mix mob mom nap net new nor not now nut odd off oil old one opt our out own pad pal pan pay peg pen per
pet pie pig pin pit pop pot pro pub put rag ram ran rat raw ray red rep rev rib rid rip rob rod rot row rub rug
rum run sad sat say sea see set she sin sip sit six ski sky son spy sub sum sun tab tag tan tap tar tax tea ten
the thy tie tin tip tom ton too top toy try two urn use van vat vet via war was way web wed who why wig win wit
won yes yet you
"""
WORDS: Final = tuple(_LIST.split())
FRESH, POPULAR, BLOCK, SHARED = range(4)
"""Kinds of text. Two texts of different kind, or of different number, begin with different words."""
_CORPUS_WORDS = 4096
_BLOCKS_CACHED = 16_384  # 34 MB of Mooncake's
_WIDTH = 4  # characters of a word and the space after it


class Vocabulary:
    """Text drawn from a seed: the same arguments give the same text, and a shorter one is the start of a longer one."""

    def __init__(self, seed: int, words: tuple[str, ...] = ()) -> None:
        words = words or WORDS
        self._bits = len(words).bit_length() - 1
        self._words = sorted(words[: 1 << self._bits], key=lambda word: uniform(seed, WORDS.index(word), 9))
        self._mark_words = -(-32 // self._bits)
        drawn = [words[int(uniform(seed, n, 11) * len(words))] for n in range(_CORPUS_WORDS)]
        self._corpus = " ".join([*drawn, *drawn]) + " "
        # Blocks repeat, and a long prompt has a hundred: without a cache, building them would delay the schedule.
        self._block = lru_cache(maxsize=_BLOCKS_CACHED)(self._text)

    def text(self, kind: int, n: int, words: int) -> str:
        """Return `words` words that begin with the mark of (kind, n): below 2**30, no other n has it.

        A text that is shorter than its mark still differs from that of its neighbours.
        """
        return self._text(kind, n, words)

    def blocks(self, ids: tuple[int, ...], block_words: int, words: int) -> str:
        """Return `words` words in blocks: equal leading ids give equal leading text.

        The last block takes the words that are left; where there are fewer than blocks need, the last ones are cut.
        """
        whole = min(len(ids) - 1, max(0, words - 1) // block_words)
        full = [self._block(BLOCK, one, block_words) for one in islice(ids, whole)]
        rest = words - whole * block_words
        return " ".join([*full, self._text(BLOCK, ids[whole], rest)])

    def _text(self, kind: int, n: int, words: int) -> str:
        rest = words - self._mark_words
        if rest <= 0:
            return self._mark(kind, n)[: max(1, words) * _WIDTH - 1]
        start = n * 7919 % _CORPUS_WORDS * _WIDTH
        if rest <= _CORPUS_WORDS:
            return self._mark(kind, n) + self._corpus[start : start + rest * _WIDTH - 1]
        turns = rest // _CORPUS_WORDS + 1
        circle = self._corpus[start : start + _CORPUS_WORDS * _WIDTH]
        return self._mark(kind, n) + "".join(repeat(circle, turns))[: rest * _WIDTH - 1]

    def _mark(self, kind: int, n: int) -> str:
        """Return the words that stand for (kind, n), the lowest digits first; an odd factor permutes the numbers."""
        code, mask, words = (n * 2_654_435_761 & 0x3FFF_FFFF) | kind << 30, (1 << self._bits) - 1, self._words
        mark = ""
        for _ in range(self._mark_words):
            mark += words[code & mask] + " "
            code >>= self._bits
        return mark
