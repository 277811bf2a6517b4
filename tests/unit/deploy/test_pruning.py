"""What is kept of former releases: bounded, and never without what serves or what a rollback needs."""

import time

import pytest

from tailrace.deploy import Deployment, build, pruning
from tailrace.deploy.release import Release
from tailrace.profile import Profile, Service

LATER_S = 2 * pruning.USED_S


@pytest.fixture
def opened(tmp_path):
    def opened(name="test"):
        profile = Profile.model_validate({"name": name, "service": {"command": ["python", "s.py"]}})
        return Deployment.open(profile, tmp_path / "home")

    return opened


def deploy(deployment, release, verb="switch", end="done"):
    """Write down what a rollout leaves behind."""
    deployment.releases.save(release)
    begun = [entry for entry in deployment.journal.entries() if entry.kind == "begin"]
    data = {"verb": verb, "release": release.id, "previous": "", "environment": {}, "generation": len(begun) + 1}
    deployment.journal.append(str(len(begun)), "begin", "locked", **data)
    if end:
        deployment.journal.append(str(len(begun)), "end", end)
    return release.id


def built(deployment, tmp_path, word):
    (tmp_path / "s.py").write_text(word)
    return build.build(Service(command=("python", "s.py")), tmp_path, deployment.built)


def test_the_last_releases_are_kept_and_the_others_removed(opened):
    """Those that were rolled back are among them."""
    deployment = opened()
    ids = [deploy(deployment, Release("command", str(n), ("s",)), end="rolled back" if n % 2 else "done")
           for n in range(pruning.KEPT + 3)]  # fmt: skip
    assert pruning.prune(deployment) == sorted(ids[:3])
    assert deployment.releases.ids() == sorted(ids[3:])
    assert pruning.prune(deployment) == []


def test_the_target_of_a_rollback_is_never_removed(opened):
    """However many attempts failed since it served."""
    deployment = opened()
    first, second, *_ = [deploy(deployment, Release("command", name, ("s",))) for name in ("first", "second")]
    for n in range(2 * pruning.KEPT):
        deploy(deployment, Release("command", str(n), ("s",)), end="rolled back")
    deploy(deployment, Release("command", "second", ("s",)), "restart")
    pruning.prune(deployment)
    assert {first, second} <= set(deployment.releases.ids())
    assert len(deployment.releases.ids()) <= pruning.KEPT + 2


def test_files_that_no_deployment_needs_go_and_those_of_another_one_stay(opened, tmp_path):
    """Copies, lists and built environments; what was used in the last hour stays for a build in progress."""
    one, other = opened("one"), opened("other")
    deploy(other, built(other, tmp_path, "shared"))
    for n in range(pruning.KEPT + 2):
        deploy(one, built(one, tmp_path, "shared" if n == 0 else f"word-{n}"))
    environment = one.built / "0123456789abcdef" / "release.json"
    environment.parent.mkdir()
    environment.write_text("{}")
    pruning.prune(one, time.time())
    assert len(texts(one)) == pruning.KEPT + 2
    pruning.prune(one, time.time() + LATER_S)
    assert texts(one) == {"shared", *(f"word-{n}" for n in range(2, pruning.KEPT + 2))}
    assert len(list((one.built / "sources").iterdir())) == pruning.KEPT + 1
    assert not environment.parent.exists()


def test_nothing_shared_is_removed_while_a_list_cannot_be_read(opened, tmp_path):
    """It may be the list of a deployment that serves."""
    one, other = opened("one"), opened("other")
    release = built(other, tmp_path, "other")
    deploy(other, release)
    (other.releases.folder / f"{release.id}.json").write_text("{")
    deploy(one, built(one, tmp_path, "one"))
    pruning.prune(one, time.time() + LATER_S)
    assert texts(one) == {"one", "other"}
    other.releases.save(release)
    (one.built / "sources" / f"{release.facts['source']}.json").write_text("{")
    pruning.prune(one, time.time() + LATER_S)
    assert texts(one) == {"one", "other"}


def test_what_cannot_be_removed_is_journalled_and_fails_no_rollout(opened):
    """The next rollout tries again."""
    deployment = opened()
    deploy(deployment, Release("command", "one", ("s",)))
    (deployment.releases.folder / "folder.json").mkdir()
    pruning.after_rollout(deployment)
    last = deployment.journal.entries()[-1]
    assert (last.state, "could not be removed" in last.fact) == ("pruning", True)


def texts(deployment):
    return {path.read_text() for path in (deployment.built / "objects").rglob("*") if path.is_file()}
