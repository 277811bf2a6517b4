"""The hooks of a profile: what may be written, and what is answered to the rest."""

import pytest
import yaml
from pydantic import ValidationError

from tailrace import profile
from tailrace.errors import ProfileError
from tailrace.profile import Profile


def test_a_hook_aborts_unless_it_is_ignored_and_a_rollback_is_never_stopped():
    """By default."""
    hooks = {name: {"command": ["true"]} for name in ("before_deploy", "after_switch", "on_rollback")}
    found = Profile.model_validate({"name": "x", "rollout": {"hooks": hooks}}).rollout.hooks
    assert [hook.on_failure for _, hook in found] == ["abort", "abort", "ignore"]
    assert found.before_deploy.timeout_s == 60


@pytest.mark.parametrize(
    ("hooks", "expected"),
    [
        (
            {"before_deploy": {"command": "./migrate --all"}},
            "words, as [./migrate, --all]: no shell reads it",
        ),
        ({"before_deploy": {"command": []}}, "at least 1 item"),
        ({"before_deploy": {"command": ["true"], "on_failure": "retry"}}, "'abort' or 'ignore'"),
        ({"before_deploy": {"command": ["true"], "timeout_s": 0}}, "greater than 0"),
        ({"before_deploy": {}}, "Field required"),
        ({"on_rollback": {"command": ["true"], "on_failure": "abort"}}, "a rollback is never stopped"),
        ({"after_deploy": {"command": ["true"]}}, "Extra inputs are not permitted"),
    ],
)
def test_another_form_is_refused_with_what_to_write(hooks, expected):
    """Before anything is deployed."""
    with pytest.raises(ValidationError) as refused:
        Profile.model_validate({"name": "x", "rollout": {"hooks": hooks}})
    assert expected in str(refused.value)


def test_a_secret_of_a_hook_has_to_be_there(tmp_path):
    """It is named by its key; with the variable, the profile is loaded."""
    path = tmp_path / "x.yaml"
    hooks = {"after_switch": {"command": ["true"], "secrets": ["PURGE_KEY"]}}
    path.write_text(yaml.safe_dump({"rollout": {"hooks": hooks}}))
    with pytest.raises(ProfileError, match=r"rollout\.hooks\.after_switch\.secrets: environment variable PURGE_KEY is"):
        profile.load(str(path), tmp_path, {})
    assert profile.load(str(path), tmp_path, {"PURGE_KEY": "x"}).rollout.hooks.after_switch
