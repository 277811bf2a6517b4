"""`tailrace cache`: what a store holds, and deleting a part of it, from the command line."""

import json
import sqlite3
import time

import pytest
from click.testing import CliRunner

from tailrace.cli import commands as cli
from tailrace.client.stores import Entry, Sqlite
from tailrace.client.stores.entry import tenant_digest


def call(*arguments, **environment):
    return CliRunner().invoke(cli.main, ["cache", *arguments], env=environment)


@pytest.fixture
def path(tmp_path):
    """A store with three entries and four calls."""
    store, now = Sqlite(tmp_path / "llm.db"), time.time()
    for number, (model, tenant) in enumerate([("m", "acme"), ("m", ""), ("n", "")]):
        made = Entry(200, (), (b"x" * 100,), False, now - 600, now + 600, model, 1, 1, 0, 0, 0.1, model,
                     tenant_digest(tenant))  # fmt: skip
        store.put(f"{number:064x}", made)
    for hit in (True, True, True, False):
        store.tally.add("m", "acme", hit)
    store.close()
    return tmp_path / "llm.db"


def test_it_shows_size_entries_and_hit_rate(path):
    """The sum, and a line per model and tenant, whose name is not shown; also from TAILRACE_CACHE, and as JSON."""
    lines = call("--store", f"sqlite:{path}").output.splitlines()
    assert lines[1].split()[:3] == ["all", "–", "3"]
    assert lines[1].endswith("75.0%")
    assert any(tenant_digest("acme") in line and "75.0%" in line for line in lines[2:])
    assert "acme" not in "".join(lines)
    answer = json.loads(call("--json", TAILRACE_CACHE=f"sqlite:{path}").stdout)
    assert (answer["total"]["entries"], answer["total"]["hits"], answer["total"]["hit_rate"]) == (3, 3, 0.75)
    assert len(answer["lines"]) == 3


@pytest.mark.parametrize(
    ("arguments", "left"),
    [(("--all",), 0), (("--model", "m"), 1), (("--tenant", "acme"), 2), (("--model", "n", "--tenant", "acme"), 3),
     (("--older-than", "5m"), 0), (("--older-than", "1h"), 3), (("--model", "m", "--older-than", "300s"), 1)],
)  # fmt: skip
def test_it_deletes_what_is_said(path, arguments, left):
    """Each filter narrows what is deleted, and the answer counts it."""
    result = call("--store", f"sqlite:{path}", "purge", *arguments)
    assert result.exit_code == 0
    assert f"removed {3 - left} entries" in result.output
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM entries").fetchone() == (left,)


@pytest.mark.parametrize(
    ("arguments", "status", "fact"),
    [(("purge",), 2, "say what to delete"), (("purge", "--all", "--model", "m"), 2, "or else --all"),
     (("purge", "--older-than", "5"), 2, "expected a number and a unit"),
     (("--profile", "local"), 2, "both name a store")],
)  # fmt: skip
def test_a_wrong_call_deletes_nothing(path, arguments, status, fact):
    """Without a filter, with two that exclude each other, or a wrong age, nothing is deleted."""
    result = call("--store", f"sqlite:{path}", *arguments)
    assert result.exit_code == status
    assert fact in result.output
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM entries").fetchone() == (3,)


def test_a_store_that_is_not_there_is_named(tmp_path):
    """No file is made, a file of another kind is left as it is, memory cannot be read, a password is not shown."""
    (tmp_path / "text.db").write_text("not a database, but long enough to be read as one" * 99)
    for store, status, fact in (
        (f"sqlite:{tmp_path / 'none.db'}", 3, "is not there"),
        (f"sqlite:{tmp_path / 'text.db'}", 3, "cannot be read as a store"),
        ("memory", 2, "no store that others can read"),
        ("", 2, "give --store"),
        ("redis://:canary5150@127.0.0.1:9/0", 3, "Redis cannot be reached"),
    ):
        result = call("--store", store, TAILRACE_CACHE="")
        assert (result.exit_code, fact in result.output) == (status, True), result.output
        assert "canary5150" not in result.output
    assert [one.name for one in tmp_path.iterdir()] == ["text.db"]


@pytest.mark.parametrize(
    "said", ["service: {environment: {TAILRACE_CACHE: 'sqlite:llm.db'}}", "policy: {cache: {store: 'sqlite:llm.db'}}",
             "policy: {cache: {store: '${CACHE_URL}'}}"]
)  # fmt: skip
def test_a_profile_names_the_store_of_its_service(path, said, monkeypatch):
    """The store is found by the single setting, by the policy, and by a variable that the policy names."""
    (path.parent / "runbook" / "profiles").mkdir(parents=True)
    (path.parent / "runbook" / "plan.yaml").write_text("steps: []")
    (path.parent / "runbook" / "profiles" / "mine.yaml").write_text(said)
    monkeypatch.chdir(path.parent)
    result = call("--json", "--profile", "mine", CACHE_URL=f"sqlite:{path}", TAILRACE_CACHE="")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["total"]["entries"] == 3
