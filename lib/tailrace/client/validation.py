"""Checks of a policy's settings. Each raises ValueError with the class, the setting, its value and what was expected.

None passes where `optional` says so.
"""

from __future__ import annotations

from tailrace.policy_rules import base_url_problem, shown_url


def instance(owner: str, kind: type, *, optional: bool = False, **values: object) -> None:
    """Raise when a value is not a `kind`."""
    for name, value in values.items():
        if not isinstance(value, kind) and not (optional and value is None):
            raise ValueError(f"{owner}({name}=…): expected {kind.__name__}, found {type(value).__name__}")


def positive_int(
    owner: str, expected: str = "a whole number from 1", *, optional: bool = False, **values: object
) -> None:
    """Raise when a value is not a whole number from 1."""
    for name, value in values.items():
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        if not fits and not (optional and value is None):
            raise ValueError(f"{owner}({name}={value!r}): expected {expected}")


def not_negative(owner: str, *, optional: bool = False, **values: object) -> None:
    """Raise when a value is not a finite number from 0."""
    for name, value in values.items():
        fits = isinstance(value, int | float) and 0 <= value < float("inf")
        if not fits and not (optional and value is None):
            raise ValueError(f"{owner}({name}={value!r}): expected 0 or more{', or None' if optional else ''}")


def positive(owner: str, *, optional: bool = False, **values: object) -> None:
    """Raise when a value is not a finite number above 0."""
    for name, value in values.items():
        fits = isinstance(value, int | float) and 0 < value < float("inf")
        if not fits and not (optional and value is None):
            raise ValueError(f"{owner}({name}={value!r}): expected more than 0{', or None' if optional else ''}")


def base_url(owner: str, value: str) -> None:
    """Raise when `value` is neither "" nor the address of an API, or holds a credential."""
    if reason := base_url_problem(value):
        raise ValueError(f"{owner}(base_url={shown_url(value)}): {reason}")
