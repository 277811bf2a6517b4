"""YAML by the core schema of version 1.2, where a plain word is text unless it looks like JSON.

PyYAML reads YAML 1.1: there `1e3` is text, `010` is 8, `12:30:00` is 45000, `no` is false and `2024-05-10` a date.
Nobody who writes a profile expects one of these. Source: YAML 1.2.2, section 10.3.2.

A file has limits of size, of depth and of values, where each use of an anchor counts as what it stands for: a few lines
of aliases can stand for billions of values.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any, Final

import yaml

MOST_BYTES: Final = 256 << 10
"""Of one file."""
MOST_VALUES: Final = 10_000
"""Keys and values in one document, all repetitions by aliases and merges counted."""
MOST_DEPTH: Final = 64
"""Lists and mappings within each other."""
_TAG: Final = "tag:yaml.org,2002:"
_RULES: Final = (
    ("null", r"null|Null|NULL|~|", "nN~\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", r"<<", "<"),
)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with other rules for what is not text, and with limits."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0
        self._sizes: dict[int, tuple[int, int]] = {}
        """Of each node that is whole: how many values it stands for, and how deep they go."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse a document that is too deep or stands for too many values, before any of it is made."""
        self._depth += 1
        self._values += 1
        self._check(self._values, self._depth)
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and not is_alias:
            self._sizes[id(node)] = self._size(node)
        return node

    def _size(self, node: yaml.Node) -> tuple[int, int]:
        """Return the size of a node from those of its parts; a part that is not whole yet, which holds it, is one."""
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
        sizes = [self._sizes.get(id(one), (1, 1)) for one in children]
        values, depth = 1 + sum(size[0] for size in sizes), 1 + max((size[1] for size in sizes), default=0)
        self._check(values, depth)
        return values, depth

    def _check(self, values: int, depth: int) -> None:
        if values > MOST_VALUES:
            raise yaml.composer.ComposerError(
                None, None, f"found more than {MOST_VALUES:,} values, each repetition counted; the limit is "
                f"{MOST_VALUES:,}: leave out what is not needed", self._here(),
            )  # fmt: skip
        if depth > MOST_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"found more than {MOST_DEPTH} lists and mappings within each other; the limit is "
                f"{MOST_DEPTH}: write it flatter", self._here(),
            )  # fmt: skip

    def _here(self) -> Any:
        mark = self.get_mark()
        mark.buffer = None  # no excerpt: it would be a line of brackets
        return mark

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice: of the two, one would be lost without a word."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in lines and key.tag != f"{_TAG}merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name} stands on line {lines[name]} and again", key.start_mark
                )
            lines[name] = line
        return super().construct_mapping(node, deep)

    def whole_number(self, node: yaml.ScalarNode) -> int:
        text = str(node.value)
        return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)

    def number(self, node: yaml.ScalarNode) -> float:
        text = str(node.value).lower()
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _name, _pattern, _first in _RULES:
    _Loader.add_implicit_resolver(
        f"{_TAG}{_name}", re.compile(rf"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )
_Loader.add_constructor(f"{_TAG}int", _Loader.whole_number)
_Loader.add_constructor(f"{_TAG}float", _Loader.number)


def read(path: Path) -> str:
    """Return the text of a file; ValueError when it is too large, no regular file or no UTF-8; OSError when it fails.

    Of a larger file nothing is read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file; give a file")
    if found.st_size > MOST_BYTES:
        raise ValueError(
            f"it has {found.st_size:,} bytes; the limit is {MOST_BYTES:,}: is it the right file? If so, shorten it"
        )
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8")


def load(text: str) -> Any:
    """Return the document in `text`; yaml.YAMLError when it is not YAML, or beyond the limits."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
