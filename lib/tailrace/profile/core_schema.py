"""YAML by the core schema of version 1.2, where a plain word is text unless it looks like JSON.

PyYAML reads YAML 1.1: there `1e3` is text, `010` is 8, `12:30:00` is 45000, `no` is false and `2024-05-10` a date.
Nobody who writes a profile expects one of these. Source: YAML 1.2.2, section 10.3.2.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

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
    """PyYAML's safe loader, with other rules for what is not text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form

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


def load(text: str) -> Any:
    """Return the document in `text`; yaml.YAMLError when it is not YAML."""
    return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
