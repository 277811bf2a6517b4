"""What of the options may be written down, and what goes to the sender."""

from __future__ import annotations

import pytest

from tailrace.cli.load.options import LoadOptions, TrafficOptions
from tailrace.errors import LoadError
from tailrace.objectives import Goodput, Objectives


def options(url: str = "http://127.0.0.1:9/v1", **more) -> LoadOptions:
    return LoadOptions(url=url, traffic=TrafficOptions(), slo=Objectives({"p99": 800}), **more)


def test_the_sender_gets_templates(monkeypatch: pytest.MonkeyPatch):
    """A header is handed on as it was given: the process that sends it fills it in."""
    monkeypatch.setenv("MY_KEY", "pearl")
    assert options(header={"x-key": "${MY_KEY}"}, api_key_env="OTHER").sender == {
        "headers": {"x-key": "${MY_KEY}"},
        "api_key_env": "OTHER",
    }
    assert options().sender == {}


def test_a_variable_that_is_not_set_is_refused(monkeypatch: pytest.MonkeyPatch):
    """By its name, before anything starts."""
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(LoadError, match="--header: environment variable MY_KEY is not set"):
        _ = options(header={"x-key": "${MY_KEY}"}).sender


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.b/v1", "http://a.b/v1"),
        ("http://a.b/v1?api-version=2024-10-21", "http://a.b/v1?api-version=2024-10-21"),
        ("http://a.b/v1?api-key=pearl&x=1", "http://a.b/v1?api-key=…&x=1"),
        ("http://a.b/v1?key=pearl", "http://a.b/v1?key=…"),
    ],
)
def test_a_credential_in_the_url_is_not_shown(url: str, shown: str):
    """The other parameters are: they say which API was measured."""
    assert options(url).shown_url == shown


def test_all_limits_are_one_object():
    """What is judged is what three options say."""
    good = Goodput(0.95, ttft_ms=300)
    assert options(goodput=good, error_rate=0.01).objectives == Objectives({"p99": 800}, error_rate=0.01, goodput=good)
