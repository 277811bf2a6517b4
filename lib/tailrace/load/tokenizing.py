"""A tokenizer of the target's model, from a file: which words count the same everywhere, and how long prompts are.

It is asked before the load run only. While requests are sent, nothing is tokenized: a prompt of n tokens is n words
that this module has found to count one token each, at the start of a text and behind a space.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from tailrace.errors import LoadError
from tailrace.load.bodies import Prompt
from tailrace.load.counting import Counting
from tailrace.load.prompts import FRESH, WORDS, Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FEWEST_WORDS: Final = 16
_ENDS: Final = (".", ",", "!", "a", " a", "-", "~")
_SAMPLES: Final = (1, 2, 7, 50, 400)


class TokenCounter:
    """Counts tokens as the model of one file does."""

    def __init__(self, tokenizer: Tokenizer, path: Path) -> None:
        self._tokenizer, self.path = tokenizer, path

    @classmethod
    def open(cls, path: Path) -> TokenCounter:
        """Return the counter of a `tokenizer.json`, or of the folder that holds one.

        Raises LoadError when it is missing or broken, or when the extra `tokenizer` is not installed.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise LoadError(f"tokenizer {file} does not exist; expected a tokenizer.json, or a folder with one")
        try:
            from tokenizers import Tokenizer
        except ImportError:
            raise LoadError("a tokenizer needs the extra tokenizer: pip install 'tailrace[tokenizer]'") from None
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise LoadError(f"tokenizer {file} cannot be read: {error}") from error
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(tokenizer, file)

    @property
    def name(self) -> str:
        """The name of its folder, which is usually that of the model."""
        return f"tokenizer {self.path.parent.name or self.path.name}"

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, without those that a chat template adds."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [len(one.ids) for one in encoded]

    def prompt_counts(self, prompts: Iterable[Prompt]) -> tuple[tuple[int, ...], ...]:
        """Return the tokens of the texts of each prompt's messages; of parts that are no text, none."""
        texts = [
            [prompt] if isinstance(prompt, str) else [_text(message) for message in prompt.messages]
            for prompt in prompts
        ]
        flat = iter(self.counts([text for one in texts for text in one]))
        return tuple(tuple(next(flat) for _ in one) for one in texts)

    def counting(self) -> Counting:
        """Return words that all count the same number of tokens, and ends that count fewer.

        Raises LoadError when the vocabulary of generated prompts has too few such words: no length could be exact.
        """
        first = self.counts(WORDS)
        behind = [both - first[0] for both in self.counts([f"{WORDS[0]} {word}" for word in WORDS])]
        alike = Counter(start for start, later in zip(first, behind, strict=True) if start == later > 0)
        tokens = alike.most_common(1)[0][0] if alike else 0
        words = tuple(word for word, *both in zip(WORDS, first, behind, strict=True) if both == [tokens, tokens])
        vocabulary = Vocabulary(0, words) if len(words) >= FEWEST_WORDS else None
        texts = [vocabulary.text(FRESH, n, n) for n in _SAMPLES] if vocabulary else []
        if not texts or self.counts(texts) != [n * tokens for n in _SAMPLES]:
            raise LoadError(
                f"{self.path}: words do not count the same in every text, so no prompt of a given length can be built"
                f" ({len(words)} words of {tokens} tokens, expected at least {FEWEST_WORDS})"
            )
        chosen = words if len(words) < len(WORDS) else ()
        return Counting(word_tok=tokens, words=chosen, fillers=self._ends(texts[-1], tokens), source=self.name)

    def _ends(self, text: str, tokens: int) -> tuple[str, ...]:
        """Return ends of 1, 2, … tokens, for words that count more than one."""
        whole = self.counts([text])[0]
        for end in _ENDS:
            ends = tuple(end * count for count in range(1, tokens))
            if self.counts([text + one for one in ends]) == list(range(whole + 1, whole + tokens)):
                return ends
        return ()


def template_tokens(counter: TokenCounter) -> tuple[float, float] | None:
    """Return what the chat template beside the tokenizer adds to a request and to each message; None without one."""
    file = counter.path.parent / "tokenizer_config.json"
    try:
        settings = orjson.loads(file.read_bytes())
        rendered = [_render(settings, count) for count in (1, 3)]
    except Exception:  # no file, no template, no jinja2, or a template of its own dialect: it stays unknown
        return None
    one, three = (len(counter._tokenizer.encode(text, add_special_tokens=False).ids) for text in rendered)
    words = counter.counts(["hat"])[0]
    message = (three - one) / 2 - words
    return max(0.0, one - words - message), max(0.0, message)


def _render(settings: dict[str, Any], count: int) -> str:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    roles = ("user", "assistant", "user")
    messages = [{"role": role, "content": "hat"} for role in roles[:count]]
    named = {
        name: token["content"] if isinstance(token, dict) else token
        for name in ("bos_token", "eos_token")
        if (token := settings.get(name))
    }
    template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        settings["chat_template"]
    )
    return template.render(messages=messages, add_generation_prompt=True, **named)


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)
