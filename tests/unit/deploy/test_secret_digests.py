"""Salted digests of secrets: a rotation is another release, and nothing of a value is written down."""

import json
import os
from dataclasses import replace

import pytest

from tailrace.deploy import Deployment, Release, secret_digests
from tailrace.errors import DeployError
from tailrace.profile import Profile

PLAIN = Release("command", "0" * 64, ("serve",))


@pytest.fixture
def deployment(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "pearl-one")
    profile = Profile.model_validate({"name": "test", "service": {"command": ["serve"], "secrets": ["MY_KEY"]}})
    return Deployment.open(profile, tmp_path)


def sealed(deployment, **values):
    return secret_digests.sealed(deployment, replace(PLAIN, **values))


def test_a_rotated_secret_is_another_release_and_the_same_value_is_the_same(deployment, monkeypatch):
    """By the value: not by the time, and not by the process."""
    first, again = sealed(deployment), sealed(deployment)
    monkeypatch.setenv("MY_KEY", "pearl-two")
    rotated = sealed(deployment)
    monkeypatch.setenv("MY_KEY", "pearl-one")
    assert first.id == again.id == sealed(deployment).id != rotated.id
    monkeypatch.delenv("MY_KEY")
    assert sealed(deployment).secrets == {}


def test_nothing_of_a_value_is_written_not_even_its_length(deployment, monkeypatch):
    """Digests of short and long values have one length; the salt decides them, so nobody can try values."""
    short = sealed(deployment)
    monkeypatch.setenv("MY_KEY", "pearl" * 100)
    long = sealed(deployment)
    written = json.dumps([short.document(), long.document()]) + repr((short, long))
    assert "pearl" not in written
    assert [len(release.secrets["MY_KEY"]) for release in (short, long)] == [64, 64]
    (deployment.folder / "secret-salt").unlink()
    assert sealed(deployment).secrets != long.secrets


def test_the_salt_is_its_owner_s_whatever_the_umask(deployment):
    """A salt that others may read lets them try values."""
    before = os.umask(0)
    try:
        sealed(deployment)
    finally:
        os.umask(before)
    salt = deployment.folder / "secret-salt"
    assert (salt.stat().st_mode & 0o777, len(salt.read_bytes())) == (0o600, 32)


def test_a_damaged_salt_is_refused(deployment):
    """Half a salt would take a secret for rotated, without a word."""
    sealed(deployment)
    (deployment.folder / "secret-salt").write_bytes(b"half")
    with pytest.raises(DeployError, match=r"has 4 bytes; expected 32\. Delete it"):
        sealed(deployment)


def test_two_secrets_of_one_value_have_two_digests_and_a_release_without_secrets_needs_no_salt(deployment, tmp_path):
    """Its id is the same on every machine."""
    two = sealed(deployment, secret_names={"A": "MY_KEY", "B": "MY_KEY"})
    assert len(set(two.secrets.values())) == 2
    other = Deployment.open(Profile.model_validate({"name": "plain", "service": {"command": ["serve"]}}), tmp_path)
    assert secret_digests.sealed(other, PLAIN).id == PLAIN.id
    assert not (other.folder / "secret-salt").exists()
