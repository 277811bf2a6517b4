"""The sections of a page."""

from tailrace.report import sections


def test_facts_are_written_in_words():
    """Names lose their underscores; booleans, null, numbers, lists and mappings are written for people."""
    result = {"step": "01", "checks": [], "release_id": "9f3c", "reused": False, "size_mb": 61.234, "requests": 12_345,
              "seeds": [1, 2], "cost_usd": None, "by_colour": {"blue": 1, "green": 2}, "states": []}  # fmt: skip
    assert dict(sections.facts(result)) == {
        "release id": "9f3c", "reused": "no", "size mb": "61.2", "requests": "12,345", "seeds": "1, 2",
        "cost usd": "not known", "by colour": "blue 1, green 2", "states": "none",
    }  # fmt: skip


def test_long_and_nested_values_are_not_facts():
    """Tables in disguise stay out of the facts."""
    result = {"many": list(range(13)), "nested": [[1]], "deep": {"a": {"b": 1}}, "facts": {"kept": 1}}
    assert sections.facts(result) == [("kept", "1")]
