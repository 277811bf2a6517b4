"""The checks of a release, each with what makes it fail."""

import zipfile

from tailrace.checks import ingredients, release
from tailrace.deploy import Release
from tailrace.deploy.inspection import Inspection
from tailrace.testbed import inspection


def test_equal_bytes_are_the_same_release():
    """Another digest is another release, and no digest decides nothing."""
    same, other = Inspection(digest="aa", rebuilt_digest="aa"), Inspection(digest="aa", rebuilt_digest="ab")
    assert release.reproducible(same, "bytes").state == "PASS"
    assert release.reproducible(other, "bytes").state == "FAIL"
    assert release.reproducible(Inspection(), "bytes").state == "INCONCLUSIVE"


def test_a_command_is_taken_as_it_is():
    """What tailrace did not build is skipped with the reason; a credential in its settings is still found."""
    command = Release("command", "digest", ("serve",), {"KEY": "sk-" + "a" * 30})
    states = {check.name: check.state for check in release.checks(command, Inspection(), 1)}
    assert states.pop("no credential in the release") == "FAIL"
    assert states.pop("named by its content") == "PASS"
    assert set(states.values()) == {"SKIPPED"}


def test_what_is_installed_has_to_be_what_is_pinned():
    """Another version, or a package that the lock does not know, is found; names are compared as PyPI does."""
    lock = "httpx2==2.0 \\\n    --hash=sha256:00\npydantic-core==1.0 ; python_version > '3'\n"
    assert ingredients.locked({"httpx2": "2.0", "pydantic_core": "1.0", "tailrace": "0"}, lock).state == "PASS"
    assert ingredients.locked({"httpx2": "2.1"}, lock).state == "FAIL"
    assert ingredients.locked({"requests": "2.0"}, lock).state == "FAIL"


def test_the_tools_of_the_runbook_stay_out():
    """A service that contains pandas fails."""
    service = ["tailrace", "tailrace.service"]
    assert ingredients.lean({"orjson"}, service, service).state == "PASS"
    assert ingredients.lean({"orjson", "Pandas"}, service, service).state == "FAIL"


def test_a_module_that_the_service_does_not_import_is_found():
    """A room of the runbook in a release is named, and a release without a module of ours is none."""
    check = ingredients.lean({"orjson"}, ["tailrace", "tailrace.report.page"], ["tailrace", "tailrace.service"])
    assert check.state == "FAIL"
    assert "not needed: tailrace.report.page" in check.fact
    assert ingredients.lean({"orjson"}, [], ["tailrace"]).state == "FAIL"


def test_the_modules_of_a_release_are_those_of_its_files():
    """A package is named by its folder; metadata and files of others are no modules of ours."""
    files = ["lib/tailrace/__init__.py", "tailrace/client/sdk/copies.py", "tailrace-1.dist-info/RECORD", "x.py"]
    assert ingredients.modules(files) == ["tailrace", "tailrace.client.sdk.copies"]


def test_a_credential_in_a_setting_or_a_file_is_found(tmp_path):
    """Neither the settings of a release nor its files may hold one; the value is not repeated."""
    key = "sk-" + "a" * 30
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("module.py", f"key = {key!r}")
    assert ingredients.no_credential({"MODEL": "m"}, ()).state == "PASS"
    for found in (ingredients.no_credential({"X": key}, ()), ingredients.no_credential({}, inspection.texts(wheel))):
        assert found.state == "FAIL"
        assert key not in found.fact


def test_a_release_over_its_budget_is_found():
    """The limit itself is allowed."""
    assert release.within_budget(150_000_000, 150).state == "PASS"
    assert release.within_budget(150_000_001, 150).state == "FAIL"
