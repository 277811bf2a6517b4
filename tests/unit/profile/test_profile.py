"""A profile is refused early: each error names the file, the key, what was found and what was expected."""

import re
from pathlib import Path

import pytest

from tailrace import profile
from tailrace.errors import ProfileError
from tailrace.objectives import Goodput, Objectives
from tailrace.profile import core_schema
from tailrace.profile.service import SILENCES_S
from tailrace.service import Settings

ROOT = Path(__file__).parents[3]
KEY = "sk-" + "a1" * 15


@pytest.fixture
def project(tmp_path):
    """A project with room for profiles; `write` puts one there."""
    (tmp_path / "runbook" / "profiles").mkdir(parents=True)
    return tmp_path


def write(project, text, name="p"):
    (project / "runbook" / "profiles" / f"{name}.yaml").write_text(text)


def refused(project, text, environment=None):
    """Return the message with which a profile is refused."""
    write(project, text)
    with pytest.raises(ProfileError) as caught:
        profile.load("p", project, environment or {})
    return str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "runbook" / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_profile_of_the_project_is_valid(path):
    """What we ship loads, once the secrets that it names are there."""
    names = re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", path.read_text())
    assert profile.load(path.stem, ROOT, dict.fromkeys([*names, "OPENAI_API_KEY"], "set")).name


def test_an_empty_profile_is_the_default(project):
    """A profile that says nothing is the embedded default, named after its file."""
    write(project, "")
    loaded = profile.load("p", project, {})
    assert (loaded.name, loaded.engine, loaded.provider.simulated, loaded.service.ours) == ("p", "process", True, True)


def test_a_loaded_profile_cannot_be_changed(project):
    """Profiles are frozen: what was checked is what is used."""
    write(project, "")
    with pytest.raises(ValueError, match="frozen"):
        profile.load("p", project, {}).engine = "docker"


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("enigne: process", "enigne", "unknown key; expected name, engine, "),
        ("rollout: {gate: {window: 1}}", "rollout.gate.window", "unknown key; expected window_s, "),
        (
            "service: {smoke: [{verb: GET}]}",
            "service.smoke.0.verb",
            "unknown key; expected method, path, headers, json, ",
        ),
        ("rollout: {bake_s: soon}", "rollout.bake_s", "a number of seconds from 0 to 86400"),
        (
            "service: {health: {status: [99]}}",
            "service.health.status",
            "'99' is no status; expected one from 100 to 599",
        ),
        ("service: {health: {status: 299-200}}", "service.health.status", "'299-200' is no status"),
        ("service: {health: {status: []}}", "service.health.status", "a list of at least one"),
        ("service: {health: {host: 'a b'}}", "service.health.host", "a host, as api.example.com"),
        ("service: {protocol: http3}", "service.protocol", "one of http1, h2c"),
        ("rollout: {bake_s: -1}", "rollout.bake_s", "a number of seconds from 0 to 86400"),
        ("rollout: {bake_s: .inf}", "rollout.bake_s", "a number of seconds from 0 to 86400"),
        ("rollout: {weights: [50, 10]}", "rollout.weights", "that rise"),
        ("rollout: {warmup: {min_requests: 300}}", "rollout.warmup", "above max_requests"),
        ("edge: {port: 70000}", "edge.port", "a whole number from 0 to 65535"),
        ("service: {health: {live: healthz}}", "service.health.live", "a path that begins with /"),
        ("service: {environment: {MY_API_KEY: x}}", "service.environment", "named like a credential"),
        ("provider: {base_url: api.example.com}", "provider.base_url", "http(s) URL"),
        ("service: {api: grpc}", "service.api", "one of openai, http"),
        ("service: {headers: {x-api-key: word}}", "service.headers", "is a credential"),
        ("service: {headers: {X-A: '1', x-a: '2'}}", "service.headers", "each header once"),
        ("service: {smoke: [{headers: {'x y': '1'}}]}", "service.smoke.0.headers", "not the name of a header"),
        ("service: {provider_env: {base: X}}", "service.provider_env.base_url", "it is required"),
        ("service: {provider_env: {base_url: X, key: X}}", "service.provider_env.key", "expected base_url, api_key"),
        ("service: {metrics: metrics}", "service.metrics", "a path that begins with /"),
        ("slo: {latency_ms: {p100: 5}}", "slo.latency_ms", "not a percentile"),
        ("slo: {latency_ms: {p0: 5}}", "slo.latency_ms", "not a percentile"),
        ("slo: {latency_ms: {median: 5}}", "slo.latency_ms", "not a percentile"),
        ("slo: {latency_ms: {p99: 5, p50: 10}}", "slo.latency_ms", "that rise"),
        ("slo: {latency_ms: {p99: 0}}", "slo.latency_ms.p99", "a number of milliseconds above 0"),
        ("slo: {error_rate: 1.5}", "slo.error_rate", "a number from 0 to 1"),
        ("slo: {percentiles_ms: {p95: 300, p99: 600}}", "slo", "write latency_ms: {p95: 300, p99: 600}"),
        ("slo: {ttft_ms: {p99: 5, p50: 10}}", "slo.ttft_ms", "that rise"),
        ("slo: {tpot_ms: {p9x: 5}}", "slo.tpot_ms", "not a percentile"),
        ("slo: {itl_ms: {p99: -1}}", "slo.itl_ms.p99", "a number of milliseconds above 0"),
        ("slo: {ttft: {p99: 5}}", "slo.ttft", "unknown key; expected latency_ms, ttft_ms, tpot_ms, itl_ms, error_rate"),
        ("slo: {goodput: {share: 0.9}}", "slo.goodput", "at least one of latency_ms, ttft_ms, tpot_ms"),
        ("slo: {goodput: {share: 95, ttft_ms: 3}}", "slo.goodput.share", "a number above 0 to 1"),
        ("slo: {goodput: {ttft_ms: 300}}", "slo.goodput.share", "it is required"),
        ("slo: {goodput: {ttft_ms: 0, share: 1}}", "slo.goodput.ttft_ms", "a number of milliseconds above 0"),
        ("slo: {goodput: {itl_ms: 4, share: 1}}", "slo.goodput.itl_ms", "unknown key; expected share, latency_ms"),
    ],
)
def test_what_is_wrong_is_named_by_file_key_found_and_expected(project, text, key, expected):
    """An unknown key, a wrong type and a value out of range each say where they stand and what would be right."""
    message = refused(project, text)
    assert message.startswith(f"{project / 'runbook' / 'profiles' / 'p.yaml'}: {key}: found ")
    assert expected in message


def test_objectives_of_a_profile(project):
    """The keys of `slo` become the objectives, and latency has default limits only where no time is limited."""
    text = "slo: {ttft_ms: {p95: 300}, tpot_ms: {p99: 40}, goodput: {ttft_ms: 300, tpot_ms: 40, share: 0.95}}"
    write(project, text, "tokens")
    goodput = Goodput(0.95, ttft_ms=300, tpot_ms=40)
    expected = Objectives(ttft_ms={"p95": 300}, tpot_ms={"p99": 40}, error_rate=0.001, goodput=goodput)
    assert profile.load("tokens", project, {}).slo.objectives == expected
    write(project, "slo: {error_rate: 0.5}", "plain")
    assert profile.load("plain", project, {}).slo.objectives == Objectives({"p95": 500, "p99": 1000}, error_rate=0.5)


def test_all_problems_are_told_at_once(project):
    """Each wrong key has its own line."""
    assert len(refused(project, "enigne: process\nslo: {error_rate: 2}").splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("service: {secrets: [MY_TOKEN]}", "service.secrets"),
        ("service: {headers: {authorization: 'Bearer ${MY_TOKEN}'}}", "service.headers"),
        ("service: {smoke: [{headers: {authorization: 'Bearer ${MY_TOKEN}'}}]}", "service.headers"),
        ("provider: {base_url: 'https://api.example.com/v1', api_key_env: MY_TOKEN}", "provider.api_key_env"),
    ],
)
def test_a_missing_environment_variable_is_named(project, text, key):
    """A secret that is not in the environment, or is empty there, is refused by its name."""
    for environment in ({}, {"MY_TOKEN": ""}):
        assert f"{key}: environment variable MY_TOKEN is not set" in refused(project, text, environment)
    assert profile.load("p", project, {"MY_TOKEN": "there"})


def test_a_variable_that_would_make_another_header_is_refused(project):
    """A key that was read from a file with two lines is refused before anything starts, and not repeated."""
    message = refused(project, "service: {headers: {x-key: '${MY_TOKEN}'}}", {"MY_TOKEN": "a\nb: c"})
    assert "service.headers: environment variable MY_TOKEN holds a line break" in message
    assert "b: c" not in message


@pytest.mark.parametrize(
    ("text", "api", "metrics"),
    [
        ("", "openai", "/metrics"),
        ("service: {command: [serve]}", "http", ""),
        ("service: {command: [serve], api: openai, metrics: /m}", "openai", "/m"),
        ("service: {api: http, metrics: ''}", "http", ""),
    ],
)
def test_what_a_service_speaks_is_openai_for_ours_and_http_for_others(project, text, api, metrics):
    """Unless the profile says it."""
    write(project, text)
    service = profile.load("p", project, {}).service
    assert (service.api, service.metrics) == (api, metrics)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("service: {secrets: [A_TOKEN]}", {"A_TOKEN": "A_TOKEN"}),
        ("provider: {base_url: 'http://p/v1', api_key_env: KEY}", {"KEY": "KEY"}),
        ("service: {command: [serve]}\nprovider: {base_url: 'http://p/v1', api_key_env: KEY}", {}),
        (
            "service: {command: [serve], provider_env: {base_url: URL, api_key: ITS_KEY}}\n"
            "provider: {base_url: 'http://p/v1', api_key_env: KEY}",
            {"ITS_KEY": "KEY"},
        ),
        ("service: {command: [serve], provider_env: {base_url: URL, api_key: ITS_KEY}}", {}),
    ],
)
def test_an_instance_gets_its_secrets_by_its_own_names(project, text, secrets):
    """The key of a real provider goes to our service, and to one that names the variable; to no other."""
    write(project, text)
    assert profile.load("p", project, dict.fromkeys(("A_TOKEN", "KEY"), "there")).secrets == secrets


def test_a_request_has_the_headers_of_the_service_and_its_own(project):
    """Its own come first, by names in lower case; an empty one takes that of the service away."""
    write(project, "service: {headers: {X-A: '1', X-B: '2'}, smoke: [{headers: {x-b: '', X-C: '3'}}]}")
    service = profile.load("p", project, {}).service
    assert service.addressed(service.smoke[0]).headers == {"x-a": "1", "x-b": "", "x-c": "3"}


@pytest.mark.parametrize("text", [f"service: {{environment: {{X: {KEY}}}}}", f"# {KEY}", f"provider: {{model: {KEY}}}"])
def test_a_literal_credential_is_refused_by_its_line_and_never_repeated(project, text):
    """What looks like a credential is refused wherever it stands, and the message does not hold it."""
    message = refused(project, f"engine: process\n{text}")
    assert "line 2 holds what looks like a credential (OpenAI-style key)" in message
    assert KEY not in message


def test_what_is_no_mapping_or_no_yaml_is_refused(project):
    """A list, and text that is not YAML, are refused with the file's name."""
    assert "found a list, expected a mapping" in refused(project, "- a")
    assert "cannot be read as YAML" in refused(project, "a: [")


def test_an_unknown_profile_names_those_that_exist(project):
    """The error for a wrong name lists the right ones."""
    write(project, "", "here")
    with pytest.raises(ProfileError, match=r"'there'.*profiles here: here"):
        profile.load("there", project, {})


def test_extends_lays_one_profile_over_another(project):
    """Mappings merge by key, everything else is replaced."""
    write(project, "rollout: {bake_s: 1, weights: [10, 50]}\nslo: {error_rate: 0.5}", "low")
    write(project, "extends: low\nrollout: {weights: [20]}", "high")
    loaded = profile.load("high", project, {})
    assert (loaded.rollout.bake_s, loaded.rollout.weights, loaded.slo.error_rate) == (1.0, (20,), 0.5)
    assert loaded.name == "high"


def test_a_profile_elsewhere_extends_one_of_the_project_by_its_path(project):
    """From the folder of the profile; a path without the ending of a file is refused, and says what is expected."""
    write(project, "slo: {error_rate: 0.5}", "low")
    mine = project / "mine.yaml"
    mine.write_text("extends: ./runbook/profiles/low.yaml")
    assert profile.load(str(mine), project, {}).slo.error_rate == 0.5
    mine.write_text("extends: ./runbook/profiles/low")
    with pytest.raises(ProfileError, match=r"found the path .* ends in \.yaml"):
        profile.load(str(mine), project, {})


def test_extends_in_a_circle_is_refused(project):
    """A profile that extends itself, over any number of others, is refused with the way around."""
    write(project, "extends: b", "a")
    write(project, "extends: p", "b")
    assert "p → a → b → p is a circle" in refused(project, "extends: a")


def test_extends_needs_a_profile_that_exists(project):
    """The error names the value of `extends`."""
    assert "extends: found 'gone'" in refused(project, "extends: gone")
    assert "extends: found 5" in refused(project, "extends: 5")


def test_a_profile_can_be_a_path(project):
    """A name that ends with .yaml is the path of a file."""
    path = project / "mine.yaml"
    path.write_text("engine: docker")
    assert profile.load(str(path), project, {}).engine == "docker"


WAITS = {
    "edge: {stream_idle_s: 300}": ["TAILRACE_DEADLINE_S 600 s", "TAILRACE_SILENCE_S 300 s"],
    "edge: {stream_idle_s: 30}\nservice: {environment: {TAILRACE_DEADLINE_S: '20'}}": ["TAILRACE_SILENCE_S 300 s"],
    "": [],
    "service: {command: [serve]}\nedge: {stream_idle_s: 1}": [],
}


@pytest.mark.parametrize(("text", "named"), WAITS.items())
def test_an_edge_that_cuts_before_the_service_speaks_is_noted(project, text, named):
    """Each wait of our service that the edge does not outlast is named; a service of one's own, the control, is not."""
    write(project, text)
    notes = profile.load("p", project, {}).notes
    assert len(notes) == len(named)
    assert all(name in note for name, note in zip(named, notes, strict=True))


def test_the_waits_of_the_service_are_those_of_its_settings():
    """The profile's defaults are the service's own."""
    fields = Settings(provider_url="http://p/v1")
    assert {f"TAILRACE_{name.upper()}": getattr(fields, name) for name in ("deadline_s", "silence_s")} == SILENCES_S


MEANT = {
    "engine": "production runs processes",
    "service.environment.TAILRACE_RETRY_ATTEMPTS": "the service's own default",
    "service.warmup": "one request of the service's API",
    "service.smoke": "the service's API, plain and streamed",
    "provider.simulator": "not used with a real provider",
    "teardown": "as every profile",
}
"""What the profile of a real provider takes from the one that it extends, on purpose."""


def leaves(document, place=""):
    """Yield the keys of a document; a list is one value."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{place}{key}.")
        else:
            yield f"{place}{key}"


def inherited(path):
    """Return the keys of the profiles that `path` extends which it does not set itself."""
    own = core_schema.load(path.read_text()) or {}
    if "extends" not in own:
        return set()
    parent = path.with_name(f"{own['extends']}.yaml")
    above = set(leaves(core_schema.load(parent.read_text()) or {})) - {"extends"}
    return (above | inherited(parent)) - set(leaves(own))


@pytest.mark.parametrize("path", sorted((ROOT / "runbook" / "profiles").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_profile_with_a_real_provider_inherits_nothing_by_accident(path, tmp_path):
    """What was chosen for a simulator that answers in milliseconds is chosen anew; ten seconds, the control, show."""
    names = re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", path.read_text())
    loaded = profile.load(path.stem, ROOT, dict.fromkeys([*names, "OPENAI_API_KEY"], "set"))
    assert not loaded.notes
    if loaded.provider.simulated or not loaded.service.ours:
        return
    assert not {key for key in inherited(path) if not key.startswith(tuple(MEANT))}
    careless = tmp_path / "careless.yaml"
    careless.write_text("extends: local\nprovider: {base_url: 'https://api.example.com/v1'}")
    (tmp_path / "local.yaml").write_text((ROOT / "runbook" / "profiles" / "local.yaml").read_text())
    found = {key for key in inherited(careless) if not key.startswith(tuple(MEANT))}
    assert "service.environment.TAILRACE_DEADLINE_S" in found
