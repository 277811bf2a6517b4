"""The headers that rooms share are named in one module."""

import ast
import re
from pathlib import Path

from tailrace import headers

LIB = Path(__file__).parents[2] / "lib" / "tailrace"
NAMES = {value for name, value in vars(headers).items() if name.isupper()}


def spelt(source: str) -> set[str]:
    """Return the shared headers that code in `source` spells out; prose may name them."""
    constants = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    texts = (value.decode("latin-1") if isinstance(value, bytes) else value for value in constants)
    return {text for text in texts if isinstance(text, str) and (text in NAMES or re.match(r"x-tailrace-\S*$", text))}


def test_names_are_lower_case_and_differ():
    """A name can be compared as it came over the wire; ours begin alike."""
    assert all(name == name.lower() for name in NAMES)
    assert len(NAMES) == len([name for name in vars(headers) if name.isupper()])
    assert {headers.CACHE, headers.ATTEMPTS, headers.TENANT} <= {n for n in NAMES if n.startswith(headers.OURS)}


def test_nobody_spells_a_shared_header():
    """The client that writes, the load generator that reads, the service and the edge all take it from here."""
    assert {str(path.relative_to(LIB)) for path in LIB.rglob("*.py") if spelt(path.read_text())} == {"headers.py"}


def test_a_spelt_header_is_seen():
    """The walk can fail, for bytes as well."""
    assert spelt('x = b"x-tailrace-attempts", "x-colour"') == {"x-tailrace-attempts", "x-colour"}
