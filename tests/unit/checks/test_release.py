"""The proofs of a release, each with what makes it fail."""

import hashlib
import zipfile

from tailrace.checks import ingredients, release


def test_equal_bytes_are_the_same_release(tmp_path):
    """Another byte is another release."""
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"content")
    assert release.same(wheel, hashlib.sha256(b"content").hexdigest()).state == "PASS"
    assert release.same(wheel, hashlib.sha256(b"Content").hexdigest()).state == "FAIL"


def test_what_is_installed_has_to_be_what_is_pinned():
    """Another version, or a package that the lock does not know, is found; names are compared as PyPI does."""
    lock = "httpx2==2.0 \\\n    --hash=sha256:00\npydantic-core==1.0 ; python_version > '3'\n"
    assert ingredients.locked({"httpx2": "2.0", "pydantic_core": "1.0", "tailrace": "0"}, lock).state == "PASS"
    assert ingredients.locked({"httpx2": "2.1"}, lock).state == "FAIL"
    assert ingredients.locked({"requests": "2.0"}, lock).state == "FAIL"


def test_the_tools_of_the_runbook_stay_out():
    """pandas in the service is found."""
    service = ["tailrace", "tailrace.service"]
    assert ingredients.lean({"orjson"}, service, service).state == "PASS"
    assert ingredients.lean({"orjson", "Pandas"}, service, service).state == "FAIL"


def test_a_module_that_the_service_does_not_import_is_found():
    """A room of the runbook in a release is named, and a release without a module of ours is none."""
    check = ingredients.lean({"orjson"}, ["tailrace", "tailrace.report.page"], ["tailrace", "tailrace.service"])
    assert check.state == "FAIL"
    assert "not needed: tailrace.report.page" in check.fact
    assert ingredients.lean({"orjson"}, [], ["tailrace"]).state == "FAIL"


def test_the_modules_of_a_wheel_are_those_of_its_files(tmp_path):
    """A package is named by its folder; metadata and files of others are no modules of ours."""
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name in ("tailrace/__init__.py", "tailrace/client/sdk/copies.py", "tailrace-1.dist-info/RECORD", "x.py"):
            file.writestr(name, "")
    assert release.modules(wheel) == ["tailrace", "tailrace.client.sdk.copies"]


def test_a_credential_in_a_setting_or_a_file_is_found(tmp_path):
    """Neither the settings of a release nor its files may hold one; the value is not repeated."""
    key = "sk-" + "a" * 30
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("module.py", f"key = {key!r}")
    assert ingredients.no_credential({"MODEL": "m"}, ()).state == "PASS"
    for found in (ingredients.no_credential({"X": key}, ()), ingredients.no_credential({}, release.texts(wheel))):
        assert found.state == "FAIL"
        assert key not in found.fact


def test_a_release_over_its_budget_is_found():
    """The limit itself is allowed."""
    assert release.within(150_000_000, 150).state == "PASS"
    assert release.within(150_000_001, 150).state == "FAIL"
