"""The scan finds credentials in every kind of file, and reports them by file and kind only."""

import base64
import json
from urllib.parse import quote

import pandas as pd
import pytest

from tailrace.errors import LeakFound
from tailrace.profile import Profile
from tailrace.run import leaks

KEY = "sk-" + "a1b2" * 8
SECRET = 'p@ss "word"/ü'
KNOWN = {"MY_TOKEN": SECRET}


def test_a_clean_folder_has_no_leaks(tmp_path):
    """Ordinary evidence passes."""
    (tmp_path / "run.json").write_text('{"id": "20261123-081530-local-ab12"}')
    pd.DataFrame({"model": ["gpt"], "n": [1]}).to_parquet(tmp_path / "part-0.parquet")
    assert leaks.scan(tmp_path, KNOWN) == []
    leaks.require_none(tmp_path, KNOWN)


@pytest.mark.parametrize("name", ["a.json", "b.ipynb", "deep/c.html", "log"])
def test_a_credential_in_text_is_found(tmp_path, name):
    """The scan reads files of every name."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"before {KEY} after")
    assert leaks.scan(tmp_path) == [(name, "OpenAI-style key")]


@pytest.mark.parametrize(
    "text",
    [SECRET, json.dumps({"x": SECRET}), quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode(),
     base64.b64encode(f"{SECRET}:".encode()).decode()],
)  # fmt: skip
def test_the_value_of_a_known_secret_is_found_in_every_form(tmp_path, text):
    """The value of a secret of the profile is found in plain, JSON, URL and base64 form."""
    (tmp_path / "a.txt").write_text(text)
    assert leaks.scan(tmp_path, KNOWN) == [("a.txt", "value of MY_TOKEN")]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["x", KEY]),
        pd.Series(["x", KEY], dtype="category"),
        pd.Series([["x"], [KEY]]),
        pd.Series([b"x", KEY.encode()]),
    ],
)
def test_a_credential_in_compressed_records_is_found(tmp_path, column):
    """The scan reads text columns of every type, not the compressed bytes."""
    pd.DataFrame({"value": column}).to_parquet(tmp_path / "a.parquet", compression="zstd")
    assert leaks.scan(tmp_path) == [("a.parquet", "OpenAI-style key")]


def test_a_leak_names_files_and_kinds_and_never_the_value(tmp_path):
    """The error is safe to show."""
    for n in range(7):
        (tmp_path / f"{n}.txt").write_text(KEY)
    with pytest.raises(LeakFound) as caught:
        leaks.require_none(tmp_path)
    assert "0.txt: OpenAI-style key; 1.txt" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert KEY not in str(caught.value)


def test_only_the_named_files_are_scanned_when_there_are_some(tmp_path):
    """`only` narrows the scan."""
    (tmp_path / "a.txt").write_text(KEY)
    (tmp_path / "b.txt").write_text("")
    assert leaks.scan(tmp_path, only=[tmp_path / "b.txt"]) == []


def test_the_secrets_of_a_profile_are_those_that_the_environment_holds():
    """Names that are not set, and values too short to search for, are left out."""
    profile = Profile.model_validate({"name": "p", "service": {"secrets": ["A", "B", "C"]}})
    environment = {
        "A": "long enough",
        "B": "short",
        "OPENAI_API_KEY": "also long enough",
        "OTHER": "no secret",
    }
    assert leaks.secrets(profile, environment) == {"A": "long enough", "OPENAI_API_KEY": "also long enough"}


def test_the_variables_of_headers_are_secrets_and_found_in_a_run(tmp_path):
    """Those of the service and those of each probe; what a run holds of them is a leak."""
    smoke = [{"headers": {"x-key": "${B}"}}]
    profile = Profile(name="p", service={"headers": {"authorization": "Bearer ${A}"}, "warmup": smoke})
    known = leaks.secrets(profile, {"A": "pearl-one", "B": "pearl-two", "C": "pearl-three"})
    assert known == {"A": "pearl-one", "B": "pearl-two"}
    (tmp_path / "results.json").write_text('{"fact": "401 (pearl-two)"}')
    assert leaks.scan(tmp_path, known) == [leaks.Leak("results.json", "value of B")]


def test_a_text_file_with_a_leak_is_masked_there(tmp_path):
    """What a run leaves may be kept: a log, lines of JSON, a notebook, which can still be read."""
    (tmp_path / "a.log").write_text(f"before {KEY} after")
    (tmp_path / "b.jsonl").write_text('{"fact": "-----BEGIN ' + 'PRIVATE KEY----- x"}\n{"fact": "good"}\n')
    (tmp_path / "c.ipynb").write_text(json.dumps({"outputs": [f"no {SECRET}"]}))
    with pytest.raises(LeakFound, match="they are masked there now"):
        leaks.require_none(tmp_path, KNOWN)
    assert (tmp_path / "a.log").read_text() == "before [OpenAI-style key] after"
    assert (tmp_path / "b.jsonl").read_text().splitlines()[1] == '{"fact": "good"}'
    assert json.loads((tmp_path / "c.ipynb").read_text()) == {"outputs": ["no [value of MY_TOKEN]"]}
    leaks.require_none(tmp_path, KNOWN)


def test_records_are_not_changed(tmp_path):
    """A Parquet file is evidence: it stays, and the error says not to share the run."""
    pd.DataFrame({"value": [KEY]}).to_parquet(tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    with pytest.raises(LeakFound, match="do not share this run"):
        leaks.require_none(tmp_path)
    assert (tmp_path / "a.parquet").read_bytes() == content


def test_the_scan_is_bounded_and_says_what_it_left_out(tmp_path, monkeypatch):
    """Of a large file its beginning and its end are read; small files are read before large ones."""
    monkeypatch.setattr(leaks, "FILE_BYTES", 1000)
    monkeypatch.setattr(leaks, "TOTAL_BYTES", 1500)
    (tmp_path / "a.log").write_text("x" * 900 + KEY + "x" * 5000 + KEY[::-1] + "x" * 5000 + f" {KEY}")
    (tmp_path / "b.log").write_text(f"x {KEY}")
    (tmp_path / "c.log").write_text(f"{'x' * 20_000} {KEY}")
    (tmp_path / "d.parquet").write_bytes(b"x" * 30_000)
    found = leaks.read(tmp_path)
    assert {leak.file for leak in found.leaks} == {"a.log", "b.log", "c.log"}
    assert found.left_out == ["a.log", "c.log", "d.parquet"]
    assert "not read whole: a.log, c.log, d.parquet (limits: " in found.limits
    assert leaks.read(tmp_path, only=[tmp_path / "b.log"]).limits == ""


def test_a_credential_across_two_pieces_is_found(tmp_path, monkeypatch):
    """A file is read in pieces that overlap, whatever the text is encoded in."""
    monkeypatch.setattr(leaks, "PIECE", 64)
    for at in range(40, 80):
        (tmp_path / "a.log").write_text("é" * (at // 2) + f" {KEY} {SECRET} " + "é" * 200)
        kinds = {leak.kind for leak in leaks.scan(tmp_path, KNOWN)}
        assert kinds == {"OpenAI-style key", "value of MY_TOKEN"}


def test_what_a_deployment_keeps_is_scanned(tmp_path):
    """Its journal and its logs, but not the edge's own files, nor what was not touched since; nothing is changed."""
    (tmp_path / "processes").mkdir()
    (tmp_path / "edge").mkdir()
    (tmp_path / "processes" / "blue-1.log").write_text(f"starting with {SECRET}")
    (tmp_path / "edge" / "blue.yaml").write_text("-----BEGIN " + "PRIVATE KEY-----")
    with pytest.raises(LeakFound, match=r"processes/blue-1\.log: value of MY_TOKEN\. Revoke") as caught:
        leaks.require_none_in_state(tmp_path, KNOWN)
    assert SECRET not in str(caught.value)
    assert SECRET in (tmp_path / "processes" / "blue-1.log").read_text()
    later = (tmp_path / "processes" / "blue-1.log").stat().st_mtime + 1
    assert leaks.require_none_in_state(tmp_path, KNOWN, since=later).leaks == []
    assert leaks.require_none_in_state(tmp_path / "missing", KNOWN).leaks == []


def test_a_damaged_parquet_file_leaves_the_scan_undecided(tmp_path):
    """A disk was full when it was written: it is named, and hides no leak in another file; a whole one is read."""
    pd.DataFrame({"value": ["a"]}).to_parquet(tmp_path / "whole.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "whole.parquet").read_bytes()[:100])
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "a.log").write_text(KEY)
    found = leaks.read(tmp_path)
    assert sorted(found.left_out) == ["cut.parquet", "empty.parquet"]
    assert {leak.file for leak in found.leaks} == {"a.log"}
