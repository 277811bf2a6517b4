"""Every store of the client can be named, and only what names one is accepted."""

import ast
from pathlib import Path

import pytest

from tailrace.client import stores as client_stores
from tailrace.errors import SettingsError
from tailrace.service import stores

TEXTS = {
    "memory": "memory",
    "sqlite": "sqlite:{folder}/c.db",
    "redis": "redis://h:1/0",
    "rediss": "rediss://h",
    "off": "off",
}


def store_classes() -> set[str]:
    """Return the names of the client's stores: the classes in its room that have a `put`."""
    return {
        node.name
        for path in Path(client_stores.__file__).parent.glob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not any(isinstance(base, ast.Name) for base in node.bases)
        if any(isinstance(part, ast.FunctionDef) and part.name == "put" for part in node.body)
    }


def test_each_store_of_the_client_can_be_configured(tmp_path: Path) -> None:
    """Opening what the setting can name gives every kind of store that there is, and "off" gives none."""
    assert TEXTS.keys() == stores.KINDS.keys()
    opened = {stores.open_store(stores.parse(text.format(folder=tmp_path)), 1_000) for text in TEXTS.values()}
    assert None in opened
    assert {type(store).__name__ for store in opened if store is not None} == store_classes() > {"Memory", "Sqlite"}
    for store in opened:
        if store is not None:
            store.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Memory",
        "memory:",
        "offside",
        "sqlite",
        "sqlite:",
        "redis",
        "redis:",
        "redis://",
        "http://h",
        "redis://h/a",
        "redis://h?db=1",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    """What names no store is a ValueError; the settings say what is expected."""
    with pytest.raises(ValueError, match=r"^$"):
        stores.parse(text)


@pytest.mark.parametrize("text", ["redis://h", "redis://h:6379", "redis://u:p@h:1/2", "redis://:p@h", "rediss://h/0"])
def test_a_url_may_name_user_password_port_and_database(text: str) -> None:
    """All that a Redis URL usually holds is accepted; only its scheme may be logged."""
    assert stores.parse(text) == text
    assert stores.name(text) in ("redis", "rediss")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the extra is not installed, the error says what to type, and does not repeat the URL."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"needs the package redis, .*pip install 'tailrace\[redis\]'") as caught:
        stores.parse("redis://:secret@h")
    assert "secret" not in str(caught.value)
    assert stores.parse("memory") == "memory"
