"""Each mistake in a profile is answered in one sentence: the key, what was found, what to write, and no jargon."""

import re
from typing import Any

import pytest

from tailrace import profile
from tailrace.errors import ProfileError
from tailrace.profile import Profile, placeholders, schema
from tailrace.profile.schema import Schema

JARGON = re.compile(
    r"Input should|valid (tuple|dict|string|integer|number|boolean)|\^\[|\(\?|\\d|type=|pydantic|Value error"
)


@pytest.fixture
def refused(tmp_path):
    """Return the message with which a profile is refused, without the path of its file; "" when it is accepted."""
    folder = tmp_path / "runbook" / "profiles"
    folder.mkdir(parents=True)

    def load(text, name="p"):
        (folder / f"{name}.yaml").write_text(text)
        try:
            profile.load(name, tmp_path, {})
        except ProfileError as error:
            return str(error).replace(f"{folder}/{name}.yaml: ", "")
        return ""

    return load


def places():
    """Yield every key of a profile that is no section, with what stands there."""
    for place in schema.keys(Profile):
        _, found = schema.find(Profile, place)
        if found.model is None:
            yield place, found


def nested(place, text):
    """Return YAML with `text` at `place`."""
    for key in reversed(place):
        text = f"{{{key}: {text}}}"
    return text


PLACES = {".".join(place): (place, at) for place, at in places()}


def kinds(at):
    return {option.annotation for option in at.options}


def numeric(at):
    return bool(kinds(at) & {int, float})


def a_choice(at):
    return any(getattr(kind, "__origin__", None) is schema.Literal for kind in kinds(at))


@pytest.mark.parametrize("key", [key for key, (_, at) in PLACES.items() if Any not in kinds(at)])
def test_a_wrong_type_is_answered_in_plain_words(refused, key):
    """Every key of a profile, with a value of another type: its place, what was found, and what is expected."""
    place, at = PLACES[key]
    message = refused(nested(place, "[[1]]" if kinds(at) & {str, bool, int, float} else "0.25"))
    line = next(line for line in message.splitlines() if line.startswith(key))
    assert re.match(rf"{re.escape(key)}[\w.\[\]]*: found .+; (expected |.* expected )", line)
    assert not JARGON.search(message)


@pytest.mark.parametrize("key", [key for key, (_, at) in PLACES.items() if numeric(at) or a_choice(at)])
def test_a_wrong_value_is_answered_in_plain_words(refused, key):
    """Every number of a profile as text with a unit, and every choice with a word that is none."""
    place, at = PLACES[key]
    for wrong in ("1 s", "'30'", "true") if numeric(at) else ("nothing-of-the-kind",):
        message = refused(nested(place, wrong))
        assert f"{key}: found " in message
        assert not JARGON.search(message)
        unit, _ = schema.unit_of(place)
        assert not numeric(at) or (unit in message and re.search(r", as [\d.]+|0 is any free port", message))


def test_the_words_of_pydantic_are_seen():
    """Negative control: what pydantic itself says is what the tests above refuse."""
    for document in ({"rollout": {"weights": 1}}, {"service": {"health": {"live": "x"}}}, {"edge": {"port": "x"}}):
        with pytest.raises(ValueError, match="validation error") as caught:
            Profile.model_validate({"name": "p", **document})
        assert JARGON.search(str(caught.value))


MISTAKES = {
    "slo: {latency_ms: {p99: 1s}}": "slo.latency_ms.p99: found '1s'; expected a number of milliseconds above 0,",
    "slo: {latency_ms: {p99: '500'}}": "slo.latency_ms.p99: found '500'; expected a number of milliseconds",
    "rollout: {bake_s: 30s}": "rollout.bake_s: found '30s'; expected a number of seconds from 0 to 86400",
    "edge: {port: true}": "edge.port: found true; expected a whole number from 0 to 65535",
    "edge: {reuse_connections: on}": "edge.reuse_connections: found 'on'; expected true or false",
    "rolout: {bake_s: 1}": "did you mean rollout?",
    "rollout: {gate: {windows_s: 1}}": "did you mean window_s?",
    "rollout: {Bake_S: 1}": "did you mean bake_s?",
    "port: 8080": "did you mean edge.port?",
    "bake_s: 3": "did you mean rollout.bake_s?",
    "service: {smoke: [{paht: /}]}": "did you mean path?",
    "service: {api: opnai}": "expected one of openai, http; did you mean openai?",
    "service: {metric_names: {waitng: [x]}}": "did you mean waiting?",
    "service:\n  command: python s.py --port {port}": "a list, in [ ], each text; write [python, s.py, --port, '{p",
    "service:\n  command: python 's.py": "write [python, '''s.py']",
    "service: {command: [s, --port, {port}]}": "write '{port}', in quotes",
    "service: {command: [s, --port, '{prot}']}": "expected {port}, {host}, {python}; did you mean {port}?",
    "service: {command: [s, '{PORT}']}": "did you mean {port}?",
    "service: {environment: {A: 8}}": 'service.environment.A: found 8; expected text; write "8", in quotes',
    "service: {environment: {A: true}}": 'write "true", in quotes',
    "service: {environment: {A: }}": 'write "" for an empty one',
    "service: {environment: {1A: x}}": "service.environment: found the name '1A'; expected the name of an environment",
    "service: {secrets: MY_KEY}": "write [MY_KEY]",
    "service: {health: {live: healthz}}": "expected a path that begins with /",
    "limits: {memory_mb: 512m}": "expected a whole number of megabytes from 32",
    "a: 1\na: 2": "the key a stands on line 1 and again",
    "service:\n  api: http\n  api: openai": "the key api stands on line 2 and again",
    "service:\n\tapi: http": "indent with spaces",
    "engine: *x": "put it in quotes",
    "engine: &x [*x]": "engine: found a list of 1; expected text",
    "- engine: process": "found a list, expected a mapping of keys",
    "process": "found text, expected a mapping of keys",
    "extends: lokal": "profiles there: ",
    "name: My Service": "found 'My Service'; expected at most 41 lower-case letters",
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.items())
def test_a_newcomers_mistake_is_answered_with_what_to_write(refused, text, said):
    """Units, quotes, lists, places and names that are nearly right."""
    message = refused(text)
    assert said in message
    assert not JARGON.search(message)


RIGHT = (
    "slo: {latency_ms: {p99: 1000}}",
    "rollout: {bake_s: 30}",
    "edge: {port: 8080, trusted_hops: 1}",
    "service: {command: [s, --port, '{port}', '${HOME}', '%{http_code}', '{{name}}', '{\"a\": 1}', '{}']}",
    "service: {environment: {A: '8', B: on}}",
    "service: &s {environment: {A: x}}",
    "service: {smoke: [&one {path: /a}, {<<: *one, path: /b}]}",
    "",
)


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_is_not_refused(refused, text):
    """Negative control: plain numbers, quoted text, other braces, anchors, and an empty file."""
    assert refused(text) == ""


@pytest.mark.parametrize(("name", "slug"), [("My Profile", "my-profile"), ("Prod", "prod"), ("a.b", "a-b")])
def test_a_file_whose_name_is_no_name_is_told_another(refused, name, slug):
    """The name of a profile is that of its file, unless it says another, the control."""
    assert f"rename the file to {slug}.yaml, or write name: {slug}" in refused("", name)
    assert refused(f"name: {slug}", name) == ""


def test_a_profile_that_is_nearly_named_is_asked_for(tmp_path):
    """Capital letters and a slip of the finger are no riddle."""
    folder = tmp_path / "runbook" / "profiles"
    folder.mkdir(parents=True)
    (folder / "production.yaml").write_text("")
    for name in ("Production", "productoin"):
        with pytest.raises(ProfileError, match="did you mean production"):
            profile.load(name, tmp_path, {})
    with pytest.raises(ProfileError, match=r"profiles here: production$"):
        profile.load("zzz", tmp_path, {})


def test_every_pattern_is_described():
    """A text with a pattern says in words what it is, because nobody reads a pattern."""
    for place in schema.keys(Profile):
        _, at = schema.find(Profile, place)
        assert at.description or not any(getattr(one, "pattern", None) for one in at.metadata), place
    assert not Schema.of(str).description


def test_the_placeholders_are_those_that_engines_fill_in():
    """The list of known placeholders is complete, and a word that is nearly one is refused."""
    assert placeholders.mistake(["{port}", "{host}", "{python}"]) == ""
    assert "{gateway}" in placeholders.mistake(["{gateway}"])
