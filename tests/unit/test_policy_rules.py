"""The rules about the texts of a policy that the client and a profile share."""

import pytest

from tailrace import policy_rules
from tailrace.client import Target
from tailrace.profile.policy import TargetPolicy

KEY = "sk-" + "a" * 30  # built here, so that no file of the project holds one
LABELS = [
    (("https://h:8443/team/v1/", "m", "KEY_A"), "h:8443/team m KEY_A"), (("", "", ""), "own"), (("", "m", ""), "m"),
    (("https://h/openai/deployments/a", "", ""), "h/openai/deployments/a"),
    (("https://h/v1?api-version=1&key=secret", "", ""), "h"), (("https://h/v1#secret", "", ""), "h"),
    (("https://user:secret@h/v1", "", ""), "h"), (("https://secret@h/v1", "", ""), "h"),
    ((f"https://h/{KEY}/v1", "", ""), "h/[OpenAI-style key]"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "label"), LABELS)
def test_a_target_is_named_by_host_and_path_without_any_credential(settings, label):
    """Deployments at one host differ in their path; user name, query and keys never get into a label."""
    assert policy_rules.target_label(*settings) == label
    assert not any(secret in label for secret in ("secret", KEY))


@pytest.mark.parametrize("url", ["https://u:secret@h/v1", "https://secret@h/v1", "https://h/v1?key=secret"])
def test_an_address_with_a_credential_makes_no_target(url):
    """Client and profile refuse it and do not show it; an address without one, the control, is taken by both."""
    for make in (Target, TargetPolicy):
        with pytest.raises(ValueError, match="found a credential in the address"):
            make(base_url=url)
        assert make(base_url="https://h/v1?api-version=1")
    assert "secret" not in policy_rules.base_url_problem(url) + policy_rules.shown_url(url)


def test_a_target_is_named_as_the_client_names_it():
    """The label of a target is that of the shared rule."""
    assert Target(base_url="https://h/v1", model="m", api_key_env="K").label == "h m K"


def test_two_keys_in_paths_are_two_targets():
    """What differs only where it is masked is not the same; what is the same, the control, is told without its key."""
    one, other = (f"https://h/{KEY}{end}/v1" for end in "bc")
    assert policy_rules.targets_problem([(one, "", ""), (other, "", "")]) == ""
    told = policy_rules.targets_problem([(one, "", ""), (one, "", "")])
    assert told.startswith("targets[1] is targets[0] again (h/[OpenAI-style key]);")
