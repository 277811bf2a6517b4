"""The canary of a profile: what may be written, and what is answered to the rest."""

import pytest
from pydantic import ValidationError

from tailrace.profile import Canary, Profile


@pytest.mark.parametrize(
    ("given", "part", "name", "value"),
    [
        ({"header": "X-Canary: always"}, "header", "x-canary", "always"),
        ({"header": "x-user:staff: 7"}, "header", "x-user", "staff: 7"),
        ({"cookie": "canary=1"}, "cookie", "canary", "1"),
        ({"cookie": "Group=a=b"}, "cookie", "Group", "a=b"),
    ],
)
def test_a_canary_is_one_header_or_one_cookie(given, part, name, value):
    """With its whole value; it comes back from JSON as it was."""
    canary = Canary.model_validate(given)
    assert (canary.part, canary.name, canary.value) == (part, name, value)
    assert Canary.model_validate_json(canary.model_dump_json()) == canary


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 'either header: "name: value" or cookie: "name=value"'),
        ({"header": "x-canary: 1", "cookie": "canary=1"}, "either header"),
        ({"header": "x-canary"}, 'expected a name and a value, as header: "x-canary: always"'),
        ({"header": "x-canary:"}, "expected a name and a value"),
        ({"header": {"x-canary": "always"}}, 'expected one text, quoted, as header: "x-canary: always"'),
        ({"header": "x-canary: *"}, "compared letter by letter"),
        ({"header": "x-canary: ${WHO}"}, "compared letter by letter"),
        ({"header": "x canary: 1"}, "is not the name of a header"),
        ({"header": "authorization: Bearer abc"}, "is a credential"),
        ({"header": "Host: new.example.com"}, "has a meaning of its own"),
        ({"header": "x-forwarded-for: 10.0.0.1"}, "has a meaning of its own"),
        ({"header": "connection: close"}, "is set by the sender"),
        ({"cookie": "canary"}, 'expected a name and a value, as cookie: "canary=always"'),
        ({"cookie": "a=1; b=2"}, "is not one cookie"),
        ({"cookie": "session-token=abc"}, "named like a credential"),
        ({"header": "x-canary: 1", "too_few": "pass"}, "'proceed' or 'wait'"),
        ({"header": "x-canary: 1", "for_s": 0}, "greater than 0"),
    ],
)
def test_another_form_is_refused_with_what_to_write(given, expected):
    """Before anything is deployed."""
    with pytest.raises(ValidationError) as refused:
        Profile.model_validate({"name": "x", "rollout": {"canary": given}})
    assert expected in str(refused.value)
