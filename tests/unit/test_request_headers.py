"""Headers that a user adds to requests: refused when they cannot be sent, filled in only when they are."""

import pytest

from tailrace import request_headers
from tailrace.errors import PartMissing

BEARER = {"Authorization": "Bearer ${MY_KEY}", "x-plain": "yes"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("x y", "1", "not the name of a header"),
        ("", "1", "not the name of a header"),
        ("content-length", "1", "set by the sender"),
        ("Transfer-Encoding", "chunked", "set by the sender"),
        ("x-mine", "a\r\nb: c", "line break"),
        ("x-mine", "a\x00", "line break, or another character"),
        ("x-mine", "日本", "another character"),
        ("x-mine", "${1A}", "begins no"),
        ("x-mine", "${A", "begins no"),
        ("authorization", "Bearer word", "is a credential"),
        ("X-Api-Key", "word", "is a credential"),
        ("cookie", "session=1", "is a credential"),
    ],
)
def test_a_header_that_cannot_be_sent_has_a_reason(name, value, reason):
    """Wrong names, framing, control characters, broken variables and literal credentials are each refused."""
    assert reason in request_headers.problem(name, value)


@pytest.mark.parametrize(("name", "value"), [*BEARER.items(), ("x-cost", "5 $"), ("x-api-key", ""), ("host", "a.b")])
def test_a_right_header_has_none(name, value):
    """Variables, plain values, a lone dollar and an empty credential are right."""
    assert request_headers.problem(name, value) == ""


def test_variables_are_filled_in_and_names_become_lower_case():
    """Only `filled` holds a value; a header that is empty then is left out."""
    assert request_headers.variables({**BEARER, "x-more": "${MY_KEY}-${OTHER}"}) == ("MY_KEY", "OTHER")
    sent = request_headers.filled({**BEARER, "x-none": ""}, {"MY_KEY": "pearl"})
    assert sent == {"authorization": "Bearer pearl", "x-plain": "yes"}


@pytest.mark.parametrize(
    ("environment", "reason"),
    [({}, "not set"), ({"MY_KEY": ""}, "not set"), ({"MY_KEY": "a\nb: c"}, "line break")],
)
def test_a_variable_that_cannot_be_sent_is_refused_by_its_name(environment, reason):
    """A missing value, and one that would make another header, name the variable and never its value."""
    with pytest.raises(PartMissing, match=f"variable MY_KEY .*{reason}") as caught:
        request_headers.filled(BEARER, environment)
    assert "b: c" not in str(caught.value)


def test_a_text_that_repeats_a_secret_is_redacted():
    """What a server says back is shown with the name in place of the value."""
    said = "invalid key pearl, pearl!"
    assert request_headers.redacted(said, BEARER, {"MY_KEY": "pearl"}) == "invalid key ${MY_KEY}, ${MY_KEY}!"
    assert request_headers.redacted(said, {}, {"MY_KEY": "pearl"}) == said
