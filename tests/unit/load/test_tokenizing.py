"""Tokenizers of a model: generated prompts have exactly as many tokens as words that count one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tailrace.errors import LoadError
from tailrace.load.bodies import Conversation
from tailrace.load.prompts import FRESH, WORDS, Vocabulary
from tailrace.load.tokenizing import TokenCounter, template_tokens

LENGTHS = (1, 2, 3, 9, 100, 1000)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def byte_level() -> Tokenizer:
    """Byte pairs as GPT-2 has them, trained on most of the words: the others need several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([f"{word}\n{word} {word}" for word in WORDS[:200]] * 3, trainer)
    return tokenizer


def by_letter() -> Tokenizer:
    """Word pieces of one letter, so that each word counts three."""
    letters = [chr(one) for one in range(ord("a"), ord("z") + 1)]
    vocabulary = {name: n for n, name in enumerate([*letters, *(f"##{one}" for one in letters), "[UNK]", ".", ","])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def saved(tokenizer: Tokenizer, folder: Path) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize(("make", "word_tok"), [(byte_level, 1), (by_letter, 3)])
def test_prompts_have_exactly_the_planned_tokens(tmp_path: Path, make, word_tok: int):
    """Words and ends chosen for a tokenizer make each length from one word on, as the tokenizer itself counts."""
    counter = TokenCounter.open(saved(make(), tmp_path))
    counting = counter.counting()
    assert counting.word_tok == word_tok
    vocabulary = Vocabulary(3, counting.words)
    for n, tokens in enumerate(LENGTHS):
        words, end = counting.fit(tokens)
        assert counter.counts([vocabulary.text(FRESH, n, words) + end]) == [max(tokens, word_tok)]


def test_words_of_several_tokens_are_not_chosen(tmp_path: Path):
    """The control: with all words the count would be wrong, because the tokenizer does not know some of them."""
    counter = TokenCounter.open(saved(byte_level(), tmp_path))
    chosen = counter.counting().words
    assert 16 <= len(chosen) <= 200
    everything = " ".join(WORDS)
    assert counter.counts([everything]) != [len(WORDS)]
    assert counter.counts([" ".join(chosen)]) == [len(chosen)]


def test_refuses_a_tokenizer_by_which_no_length_is_exact(tmp_path: Path):
    """Where a word counts differently behind a space, and no other does better, the file is refused with the reason."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    with pytest.raises(LoadError, match="do not count the same"):
        TokenCounter.open(saved(tokenizer, tmp_path)).counting()


def test_counts_the_texts_of_prompts(tmp_path: Path):
    """Each message is counted on its own; of its parts, the texts."""
    counter = TokenCounter.open(saved(by_letter(), tmp_path) / "tokenizer.json")
    parts = [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    talk = Conversation(({"role": "system", "content": "ab"}, {"role": "user", "content": parts}))
    assert counter.prompt_counts(("abc", talk)) == ((3,), (2, 4))


def test_the_template_beside_it_is_measured(tmp_path: Path):
    """A chat template adds tokens for each message and for the request; without one, nothing is known."""
    counter = TokenCounter.open(saved(by_letter(), tmp_path))
    assert template_tokens(counter) is None
    settings = {"chat_template": TEMPLATE, "bos_token": {"content": "."}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    # "<", "user" or "assistant" by letter, ">": those of both roles differ, so the mean of a turn is counted.
    request, message = template_tokens(counter) or (0, 0)
    assert request + message == 1 + (2 + 4) + (2 + 9)


@pytest.mark.parametrize(("content", "expected"), [(None, "does not exist"), ("{", "cannot be read")])
def test_refuses_a_file_that_is_none(tmp_path: Path, content: str | None, expected: str):
    """A missing and a broken file are errors that name it."""
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(LoadError, match=expected):
        TokenCounter.open(tmp_path)
