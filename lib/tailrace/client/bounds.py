"""What a part of a policy may be made of: each check raises ValueError with the part, the value and what was expected.

None passes where `optional` says so.
"""

from __future__ import annotations


def a(owner: str, kind: type, *, optional: bool = False, **values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, kind) and not (optional and value is None):
            raise ValueError(f"{owner}({name}=…): expected {kind.__name__}, found {type(value).__name__}")


def whole(owner: str, expected: str = "a whole number from 1", *, optional: bool = False, **values: object) -> None:
    for name, value in values.items():
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not fits and not (optional and value is None):
            raise ValueError(f"{owner}({name}={value!r}): expected {expected}")


def from_0(owner: str, *, optional: bool = False, **values: object) -> None:
    for name, value in values.items():
        fits = isinstance(value, int | float) and 0 <= value < float("inf")
        if not fits and not (optional and value is None):
            raise ValueError(f"{owner}({name}={value!r}): expected 0 or more{', or None' if optional else ''}")


def positive(owner: str, *, optional: bool = False, **values: object) -> None:
    for name, value in values.items():
        fits = isinstance(value, int | float) and 0 < value < float("inf")
        if not fits and not (optional and value is None):
            raise ValueError(f"{owner}({name}={value!r}): expected more than 0{', or None' if optional else ''}")
