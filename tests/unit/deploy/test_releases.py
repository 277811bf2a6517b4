"""The files of releases: read again after years, and refused in words when they are damaged."""

import json

import pytest

from tailrace.deploy import Release
from tailrace.deploy.releases import Releases
from tailrace.errors import DeployError
from tailrace.profile import Acceptance

TODAY = Acceptance.model_validate({"health": {"live": "/today"}})
RELEASE = Release("command", "0" * 64, ("serve",), acceptance=Acceptance.model_validate({"health": {"live": "/then"}}))


@pytest.fixture
def releases(tmp_path):
    kept = Releases(tmp_path, TODAY)
    kept.save(RELEASE)
    return kept


def test_a_release_brings_its_own_acceptance(releases):
    """Not that of the profile of today."""
    assert releases.find(RELEASE.id).acceptance.health.live == "/then"


def test_a_file_from_before_releases_kept_their_acceptance_gets_the_default(releases):
    """Its other fields are as they were written."""
    document = json.loads((releases.folder / f"{RELEASE.id}.json").read_text())
    old = {k: document[k] for k in ("id", "kind", "build", "command", "environment", "ours", "facts")}
    (releases.folder / "old.json").write_text(json.dumps(old))
    found = releases.find("old")
    assert (found.acceptance, found.command, found.edition, found.secrets) == (TODAY, ("serve",), 1, {})


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "null", '{"kind": "command"}', '{"acceptance": 1}', "\xff"])
def test_a_damaged_file_is_refused_with_what_to_do(releases, content):
    """By its path; what asks for its acceptance only gets the default."""
    (releases.folder / "half.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DeployError, match=r"half\.json is damaged .* type: tailrace deploy"):
        releases.find("half")
    assert releases.acceptance("half") == TODAY


def test_an_unknown_release_is_refused_with_the_known_ones(releases):
    """A name with a path in it leads nowhere else."""
    for id in ("none", "../test_releases", ""):
        with pytest.raises(DeployError, match=f"is not kept here .*; known: {RELEASE.id}"):
            releases.find(id)


def test_a_second_edition_has_an_id_of_its_own(releases):
    """Its content has the same one; both are found again."""
    second = Release(**{**vars(RELEASE), "edition": 2})
    releases.save(second)
    assert (second.id, second.content_id) == (f"{RELEASE.id}.2", RELEASE.id)
    assert [releases.find(id) for id in releases.ids()] == [RELEASE, second]
