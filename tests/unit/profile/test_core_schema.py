"""YAML 1.2: a plain word is text, unless it looks like JSON."""

import pytest
import yaml

from tailrace.profile import core_schema


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("On", "On"), ("12:30:00", "12:30:00"), ("2024-05-10", "2024-05-10"), ("1_000", "1_000"),
        ("1e3", 1000.0), ("010", 10), ("-7", -7), ("0o17", 15), ("0xff", 255), (".5", 0.5), ("1.", 1.0),
        ("-.inf", float("-inf")), ("true", True), ("False", False),
        ("null", None), ("~", None), ("", None), ("'5'", "5"), ("2.0.1", "2.0.1"),
    ],
)  # fmt: skip
def test_a_scalar_is_read_by_the_core_schema(text, value):
    """Value and type, as section 10.3.2 of the standard has them."""
    document = core_schema.load(f"[{text}]" if text else "a:")
    read = document[0] if text else document["a"]
    assert (read, type(read)) == (value, type(value))


def test_pyyaml_alone_reads_another_language():
    """The test above can fail: YAML 1.1 has other values."""
    assert yaml.safe_load("[no, 010, 12:30:00, 1e3]") == [False, 8, 45000, "1e3"]


def test_merge_keys_still_merge():
    """`<<` is no longer in the standard, and profiles use it."""
    assert core_schema.load("a: &a {x: 1}\nb: {<<: *a, y: 2}")["b"] == {"x": 1, "y": 2}


def test_it_makes_no_python_objects():
    """A tag for a Python object is refused, as by the safe loader."""
    with pytest.raises(yaml.YAMLError):
        core_schema.load("!!python/object/apply:os.system [echo]")
