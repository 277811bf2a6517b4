"""The section `policy` of a profile: whose it is, what it hands on, and what it must not say twice."""

import json

import pytest

from tailrace import profile
from tailrace.deploy.release import Release
from tailrace.errors import ProfileError
from tailrace.profile import Profile
from tailrace.profile.policy import SETTING
from tailrace.run import leaks
from tailrace.service.settings import Settings
from tailrace.testbed import candidates

LOW = "service: {environment: {TAILRACE_DEADLINE_S: '10', OTHER: kept}}\npolicy: {retry: {attempts: 4, base_s: 0.1}}"


@pytest.fixture
def loaded(tmp_path):
    """Load a profile from YAML; a second text is a profile that extends the first."""
    folder = tmp_path / "runbook" / "profiles"
    folder.mkdir(parents=True)

    def load(*texts, environment=None):
        for number, text in enumerate(texts):
            parent = f"extends: p{number - 1}\n" if number else ""
            (folder / f"p{number}.yaml").write_text(parent + text)
        return profile.load(f"p{len(texts) - 1}", tmp_path, environment or {})

    return load


def handed_on(loaded):
    """Return what the service of a profile gets to read."""
    return json.loads(loaded.configured_service.environment.get(SETTING, "{}"))


def test_what_a_profile_says_is_handed_on_and_nothing_else(loaded):
    """The setting holds what is written, so that it is part of the release; an empty policy is no setting."""
    said = loaded("policy: {limits: {requests_per_min: 60}, cache: , fallbacks: [{model: m}]}")
    assert handed_on(said) == {"limits": {"requests_per_min": 60.0}, "cache": None, "fallbacks": [{"model": "m"}]}
    assert loaded("").configured_service.environment == {}


def test_another_policy_is_another_release(loaded):
    """The same policy has the same id, in whatever order it is written."""

    def id_of(text):
        return Release("command", "b", (), loaded(text).configured_service.environment, ours=True).id

    one = id_of("policy: {retry: {attempts: 5, base_s: 1}, cache: {ttl_s: 9}}")
    assert one == id_of("policy: {cache: {ttl_s: 9}, retry: {base_s: 1, attempts: 5}}")
    assert one != id_of("policy: {retry: {attempts: 6, base_s: 1}, cache: {ttl_s: 9}}")


def test_a_policy_is_that_of_our_service(loaded):
    """A service of one's own has none; the same service without a policy, the control, is accepted."""
    foreign = "service: {command: [serve]}"
    with pytest.raises(ProfileError, match="policy is that of tailrace's own service"):
        loaded(f"{foreign}\npolicy: {{retry: {{attempts: 5}}}}")
    assert loaded(foreign).policy.environment == {}


@pytest.mark.parametrize("part", ["{limits: {first_byte_s: 5}}", "{limits: }"])
def test_a_thing_that_is_said_twice_is_a_mistake(loaded, part):
    """The old setting and its key of the policy do not stand in one profile; each alone, the control, does."""
    single = "service: {environment: {TAILRACE_DEADLINE_S: '10'}}"
    with pytest.raises(ProfileError, match=r"TAILRACE_DEADLINE_S in service\.environment and policy\.limits"):
        loaded(f"{single}\npolicy: {part}")
    assert loaded(f"{single}\npolicy: {{limits: {{silence_s: 5}}}}")
    assert loaded(f"policy: {part}")
    with pytest.raises(ProfileError, match="TAILRACE_POLICY in service"):
        loaded(f"service: {{environment: {{{SETTING}: '{{}}'}}}}")


def test_a_profile_replaces_what_it_extends_under_both_names(loaded):
    """A policy takes the place of the setting above it, and a setting that of the policy above it."""
    high = loaded(LOW, "policy: {limits: {first_byte_s: 60}}")
    environment = high.configured_service.environment
    assert (environment["OTHER"], "TAILRACE_DEADLINE_S" in environment) == ("kept", False)
    assert handed_on(high) == {"limits": {"first_byte_s": 60.0}, "retry": {"attempts": 4, "base_s": 0.1}}
    set_anew = loaded(LOW, "service: {environment: {TAILRACE_RETRY_ATTEMPTS: '2'}}")
    assert handed_on(set_anew) == {"retry": {"base_s": 0.1}}
    assert set_anew.configured_service.environment["TAILRACE_RETRY_ATTEMPTS"] == "2"


def test_the_variables_of_a_policy_are_secrets(loaded):
    """Keys and the URLs of stores are handed on by name, have to be there, and are looked for in a run's files."""
    text = "policy: {fallbacks: [{model: m, api_key_env: OTHER_KEY}], cache: {store: '${CACHE_URL}'}}"
    with pytest.raises(ProfileError, match=r"policy\.fallbacks\.0\.api_key_env: .* OTHER_KEY is not set"):
        loaded(text, environment={"CACHE_URL": "redis://h/1"})
    environment = {"CACHE_URL": "redis://:hunter2@h/1", "OTHER_KEY": "a-key-of-another"}
    there = loaded(text, environment=environment)
    assert there.secrets == {"CACHE_URL": "CACHE_URL", "OTHER_KEY": "OTHER_KEY"}
    assert leaks.secrets(there, environment) == environment
    with pytest.raises(ProfileError, match="looks like a credential"):
        loaded("policy: {cache: {store: 'redis://:hunter2@h/1'}}")


def test_an_edge_that_cuts_before_the_policy_lets_go_is_noted(loaded):
    """The waits of a policy count like those of the settings; those of the default, the control, are none."""
    assert not loaded("").notes
    notes = loaded("policy: {limits: {first_byte_s: 700, silence_s: }}").notes
    assert ["policy.limits.first_byte_s 700 s" in notes[0], "policy.limits.silence_s inf s" in notes[1]] == [True, True]


@pytest.mark.parametrize("said", ["{retry: {base_s: 1}}", "{retry: , cache: {stale_if_error_s: 9, ttl_s: 1}}", "{}"])
def test_the_release_that_is_to_fail_hides_no_failure(said):
    """Neither retries nor fallbacks nor old answers are left of its policy, whatever the profile says."""
    text = json.dumps({**{"fallbacks": [{"model": "m"}]}, **json.loads(_json(said))})
    failing = candidates._unprotected(Release("command", "b", (), {"TAILRACE_RETRY_ATTEMPTS": "3", SETTING: text}))
    left = json.loads(failing.environment[SETTING])
    assert left["retry"]["attempts"] == 1
    assert "fallbacks" not in left
    assert "stale_if_error_s" not in left.get("cache", {})
    assert "TAILRACE_RETRY_ATTEMPTS" not in failing.environment
    plain = candidates._unprotected(Release("command", "b", (), {}))
    assert plain.environment == {"TAILRACE_RETRY_ATTEMPTS": "1"}


def _json(text):
    return json.dumps(Profile.model_validate({"name": "p", "policy": profile.reader.core_schema.load(text)})
                      .policy.model_dump(mode="json", exclude_unset=True))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [("{cache: {ignore_headers: [authorization]}}",
      "policy.cache.ignore_headers: found a list of 1; 'authorization' leaves out authorization, which says who asks; "
      "give the cache an identity in its place"),
     ("{targets: [{base_url: 'https://h/v1?key=hunter2'}]}",
      "policy.targets.0.base_url: found an address that may hold a credential (not shown); found a credential in the "
      "address, as a user name or in its query; expected none there: name the variable that holds the key as "
      "api_key_env"),
     ("{fallbacks: [{base_url: 'https://hunter2@h/v1'}]}",
      "policy.fallbacks.0.base_url: found an address that may hold a credential (not shown); found a credential"),
     ("{targets: [{base_url: 'http://h/v1'}, {base_url: 'http://h'}]}",
      "policy.targets: found a list of 2; targets[1] is targets[0] again (h); give it once")],
)  # fmt: skip
def test_what_the_service_would_refuse_is_refused_here(loaded, text, told):
    """A profile whose service would not start does not load; its message names the key, and shows no credential."""
    with pytest.raises(ProfileError) as caught:
        loaded(f"policy: {text}")
    assert f"p0.yaml: {told}" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_what_the_service_takes_is_taken_here(loaded):
    """The negative control: names and addresses that hold no credential."""
    targets = "[{base_url: 'http://h/v1'}, {base_url: 'http://h/v2?api-version=1'}]"
    assert loaded(f"policy: {{cache: {{ignore_headers: [x-tag, x-lab-*]}}, targets: {targets}}}")


@pytest.mark.parametrize(("word", "right"), [("adaptive", True), ("8", True), ("'8'", False), ("adaptiv", False)])
def test_a_word_may_stand_where_a_number_may(loaded, word, right):
    """`adaptive` and a number are concurrencies; a number in quotes and a word that is none, the controls, are not."""
    text = f"policy: {{limits: {{concurrency: {word}}}}}"
    if right:
        assert handed_on(loaded(text))
    else:
        with pytest.raises(ProfileError, match=r"policy\.limits\.concurrency: found"):
            loaded(text)


def test_a_profile_says_whether_anonymous_callers_share_answers(loaded):
    """They share by default, which is handed on as nothing; `apart` is part of the release, and of our service only."""
    apart = loaded("service: {anonymous: apart}").configured_service
    assert apart.environment == {"TAILRACE_ANONYMOUS": "apart"}
    assert Settings.read({**apart.environment, "TAILRACE_PROVIDER_URL": "http://x/v1"}).anonymous == "apart"
    for shared in ("", "service: {anonymous: shared}"):
        assert loaded(shared).configured_service.environment == {}
    with pytest.raises(ProfileError, match=r"service\.anonymous is for tailrace's own service"):
        loaded("service: {anonymous: apart, command: [serve]}")
    with pytest.raises(ProfileError, match="take one of them out"):
        loaded("service: {anonymous: apart, environment: {TAILRACE_ANONYMOUS: shared}}")
