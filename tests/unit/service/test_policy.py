"""TAILRACE_POLICY and the profile's `policy`: both are the client's `Policy`, and say each thing once."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from tailrace.client import policy as client
from tailrace.client.request.guard import Guard
from tailrace.errors import SettingsError
from tailrace.profile import mistakes, schema
from tailrace.profile import policy as profile
from tailrace.service import settings
from tailrace.service.components import policy_of
from tailrace.service.policy import NOT_IN_JSON, parse
from tailrace.service.settings import Settings
from tailrace.service.stores import open_store

FORMS: dict[str, tuple[Any, type[BaseModel], dict[str, Any]]] = {
    "cache": (client.Cache, profile.CachePolicy, {}),
    "retry": (client.Retry, profile.RetryPolicy, {}),
    "limits": (client.Limits, profile.LimitsPolicy, {}),
    "limits.breaker": (client.Breaker, profile.BreakerPolicy, {}),
    "spend": (client.Spend, profile.SpendPolicy, {"max_usd": 1}),
    "guard": (Guard, profile.GuardPolicy, {}),
    "fallbacks": (client.Fallback, profile.FallbackPolicy, {"model": "m"}),
    "targets": (client.Target, profile.TargetPolicy, {}),
    "prices": (client.Price, profile.PricePolicy, {}),
}
"""The dataclass and the section of each part, and what it needs to be valid."""
LISTS = ("fallbacks", "targets")
MAPS = ("prices",)
PROBES = (-1, 0, 0.5, 1, 2.5, 10**12, True, "x", "adaptive", "", None, [], ["x"], {})
HEADERS = ("authorization", "X-API-Key", "x-ap*", "cookie", "x-team-token", "a b", "*", "", "x-*-a", "x-tag", "x-lab-*")
ADDRESSES = ("http://h/v1", "https://h", "http://h:1/a?api-version=1", "ftp://h", "h/v1", "http://", "http://h:99999/v1",
             "https://u:pw@h/v1", "https://u@h", "https://h/a@b", "https://h/v1?key=k", "https://h/v1?x-api-key=k",
             "http://h /v1", "http://[::1]:8/v1", "http://[::1/v1")  # fmt: skip
TARGETS = ([{"base_url": "http://h/v1"}, {"base_url": "http://h"}], [{}, {}], [{"model": "m"}, {"model": "n"}],
           [{"base_url": "http://h/v1"}, {"base_url": "http://h/v2"}])  # fmt: skip
URL = {"TAILRACE_PROVIDER_URL": "http://127.0.0.1:9/v1"}


def names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def sayable(kind: Any) -> set[str]:
    return {name for name in names(kind) if f"{kind.__name__}.{name}" not in NOT_IN_JSON}


def accepted_in_a_profile(document: dict[str, Any]) -> bool:
    try:
        profile.Policy.model_validate(document)
    except ValidationError:
        return False
    return not list(mistakes.converted(document, profile.Policy))


def accepted_by_the_service(document: dict[str, Any]) -> bool:
    try:
        parse(json.dumps(document))
    except SettingsError:
        return False
    return True


def at(place: str, value: Any) -> dict[str, Any]:
    """Return the policy with the section `value` at `place`."""
    section, _, inner = place.partition(".")
    return {section: [value] if place in LISTS else {inner or "m": value} if inner or place in MAPS else value}


def probes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield policies that have one value of every kind in every field."""
    for value in ({"a": "b", "b": "a"}, {"a": "a"}, {"": "b"}, {"a": "b", "b": "gpt-4o"}, {"a": 1}):
        yield f"prices={value}", {"prices": value}
    yield from ((f"ignore_headers={one!r}", {"cache": {"ignore_headers": [one]}}) for one in HEADERS)
    for place in LISTS:
        yield from ((f"{place}={one!r}", {place: [{"base_url": one}]}) for one in ADDRESSES)
    yield from ((f"targets={one}", {"targets": one}) for one in TARGETS)
    for place, (_, section, needed) in FORMS.items():
        for name in section.model_fields:
            for value in PROBES:
                yield f"{place}.{name}={value!r}", at(place, {**needed, name: value})


@pytest.mark.parametrize("place", FORMS)
def test_a_profile_says_what_the_client_can_do(place: str) -> None:
    """Every field of a dataclass has its key, but for those that no text can say, each with its reason."""
    kind, section, _ = FORMS[place]
    assert sayable(kind) == set(section.model_fields)


def test_no_part_of_a_policy_is_left_out() -> None:
    """The parts are the fields of Policy; a field of a dataclass that is not there has no reason either."""
    assert sayable(client.Policy) == set(profile.Policy.model_fields)
    kinds = {kind.__name__: kind for kind, _, _ in FORMS.values()} | {"Policy": client.Policy}
    assert all(name in names(kinds[kind]) for kind, name in (entry.split(".") for entry in NOT_IN_JSON))
    assert {section for section, part in FORMS.items() if "." not in section} <= names(client.Policy)


def test_the_defaults_of_a_profile_are_those_of_the_service() -> None:
    """What a profile leaves out has the value that it shows."""
    own = Settings(provider_url="http://p/v1")
    policy, said = policy_of(own, open_store(own.cache, own.cache_max_bytes), print), profile.Policy()
    for place, (_, section, _) in FORMS.items():
        here, there = policy, said
        for part in place.split("."):
            here, there = getattr(here, part), getattr(there, part)  # type: ignore[assignment]
        if place in (*LISTS, *MAPS) or there is None:
            assert here == there, place
            continue
        for name in section.model_fields:
            value, default = getattr(here, name), getattr(there, name)
            value = type(value).__name__.lower() if name == "store" else value
            value = tuple(sorted(value)) if isinstance(value, frozenset) else value
            assert isinstance(default, BaseModel) or value == default, f"{place}.{name}"


def test_a_profile_accepts_what_the_service_accepts() -> None:
    """Values of every kind in every field: both accept the same, and both sides of the limits occur."""
    found = {name: (accepted_in_a_profile(one), accepted_by_the_service(one)) for name, one in probes()}
    assert [f"{name}: {pair}" for name, pair in found.items() if pair[0] != pair[1]] == []
    assert {True, False} == {ours for ours, _ in found.values()}


def test_the_single_settings_are_known_to_both() -> None:
    """Profile and service have one table of the settings that say what a policy says."""
    assert {f"TAILRACE_{name.upper()}": place for name, place in settings.SINGLE.items()} == profile.SINGLE
    assert all(field in FORMS[section][1].model_fields for section, field in profile.SINGLE.values())


def test_what_is_left_out_keeps_the_value_of_the_single_setting() -> None:
    """A policy is laid over the other settings, field by field; a section that is off is off."""
    given = {"TAILRACE_DEADLINE_S": "7", "TAILRACE_RETRY_ATTEMPTS": "1", "TAILRACE_POLICY": json.dumps({
        "limits": {"silence_s": 4, "breaker": {"min_calls": 3}}, "retry": {"base_s": 0.1}, "guard": None})}  # fmt: skip
    read = Settings.read({**URL, **given})
    policy = policy_of(read, open_store(read.cache, read.cache_max_bytes), print)
    assert policy.limits is not None
    assert (policy.limits.first_byte_s, policy.limits.silence_s, read.silence_s) == (7.0, 4.0, 4.0)
    assert policy.limits.breaker == client.Breaker(min_calls=3, open_s=2.0)
    assert (policy.retry, policy.guard) == (None, None)
    once_more = Settings.read({**URL, **given, "TAILRACE_RETRY_ATTEMPTS": "2"})
    again = policy_of(once_more, None, print)
    assert again.retry == client.Retry(attempts=2, base_s=0.1)


@pytest.mark.parametrize("name", settings.SINGLE)
def test_a_thing_that_is_said_twice_is_a_mistake(name: str) -> None:
    """A setting and its field of the policy are not given both, nor the setting of a section that is off."""
    section, field = settings.SINGLE[name]
    value = "memory" if name == "cache" else 5
    for part, place in (({field: value}, f"{section}.{field}"), (None, section)):
        given = {f"TAILRACE_{name.upper()}": str(value), "TAILRACE_POLICY": json.dumps({section: part})}
        with pytest.raises(SettingsError) as caught:
            Settings.read({**URL, **given})
        expected = f"TAILRACE_{name.upper()}: TAILRACE_POLICY says it, too ({place}); say it in one of them"
        assert str(caught.value) == expected
    assert Settings.read({**URL, "TAILRACE_POLICY": json.dumps({section: {field: value}})})


MISTAKES = {
    "[]": "found []; expected an object of cache, retry, ",
    "nonsense": "not JSON: ",
    '{"hooks": []}': "hooks: cannot be said here: functions of the program",
    '{"retries": {}}': "retries: unknown; expected one of cache, retry, ",
    '{"limits": {"breaker": {"opens_s": 1}}}': "limits.breaker.opens_s: unknown; ",
    '{"limits": {"deadline_s": -1}}': "limits: Limits(deadline_s=-1.0): expected more than 0, or None",
    '{"cache": {"coalesce": "no"}}': "cache.coalesce: found 'no'; expected true or false",
    '{"cache": {"store": "off"}}': "cache.store: found 'off'; write null for cache",
    '{"cache": {"store": "redis://:pw@host/1"}}': "cache.store: the URL holds a password; put the URL into a variable",
    '{"cache": {"store": "${NOT_SET}"}}': "cache.store: the variable NOT_SET is not set or empty",
    '{"spend": {}}': "spend: found no max_usd; it is required",
    '{"fallbacks": [{"model": "m"}, {}]}': "fallbacks.1: Fallback(): expected a model, a base_url or both",
    '{"fallbacks": [{"model": "m", "api_key_env": "NOT_SET"}]}': "fallbacks.0.api_key_env: the variable NOT_SET is not",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_a_mistake_is_named_by_its_place(text: str, message: str) -> None:
    """Each mistake is one line: the place, what was found and what to write."""
    with pytest.raises(SettingsError) as caught:
        Settings.read({**URL, "TAILRACE_POLICY": text})
    assert str(caught.value).startswith(f"TAILRACE_POLICY: {message}")
    assert "\n" not in str(caught.value)


def test_a_variable_stands_for_the_url_of_a_store() -> None:
    """A URL with a password comes from a variable, and neither of the two is shown."""
    url = "redis://:hunter2@host:6379/1"
    read = Settings.read({**URL, "TAILRACE_POLICY": '{"cache": {"store": "${CACHE_URL}"}}', "CACHE_URL": url})
    assert read.cache == url
    assert "hunter2" not in repr(read)
    with pytest.raises(SettingsError, match="the variable CACHE_URL names no store") as caught:
        Settings.read({**URL, "TAILRACE_POLICY": '{"cache": {"store": "${CACHE_URL}"}}', "CACHE_URL": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_every_place_of_a_profile_has_words() -> None:
    """The keys of the policy are walked like those of any other section."""
    keys = {".".join(map(str, place)) for place in schema.keys(profile.Policy)}
    assert "limits.breaker.open_s" in keys
