"""The modules of a release are those that its program imports, and no other."""

import pytest

from tailrace.deploy import modules
from tailrace.deploy.build import SERVICE, SIMULATOR


@pytest.fixture
def lib(tmp_path):
    """A small package: `app` imports `a`, `a` imports `b.c` in a function, and nobody imports `lonely`."""
    files = {
        "tailrace/__init__.py": "",
        "tailrace/app.py": "import json\nfrom tailrace import a\n",
        "tailrace/a.py": "def f():\n    from tailrace.b.c import name\n",
        "tailrace/b/__init__.py": "",
        "tailrace/b/c.py": "import tailrace.app\nname = 1\n",
        "tailrace/b/lonely.py": "import tailrace.a\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_what_is_imported_comes_with_its_packages(lib):
    """Imports are followed through functions and circles; a module beside the imported one stays out."""
    found = modules.needed(lib, "tailrace.app")
    assert list(found) == ["tailrace", "tailrace.a", "tailrace.app", "tailrace.b", "tailrace.b.c"]
    assert found["tailrace.b"] == lib / "tailrace/b/__init__.py"


def test_a_program_that_is_not_there_is_refused(lib):
    """Nothing would be packed otherwise."""
    with pytest.raises(FileNotFoundError, match=r"no module tailrace\.no"):
        modules.needed(lib, "tailrace.no")


CLIENT = {"client", "credentials", "errors", "headers", "numbers", "percentiles", "policy_rules", "protocol"}
"""The client with all that lies under it."""


@pytest.mark.parametrize(
    ("program", "rooms"),
    [(SERVICE, CLIENT | {"service"}), (SIMULATOR, CLIENT | {"simulator"})],
)
def test_no_room_of_the_runbook_is_needed(root, program, rooms):
    """The service and the simulator need the client, themselves and what lies under them."""
    needed = modules.needed(root / "lib", program)
    assert {name.split(".")[1] for name in needed if "." in name} <= rooms
    assert program in needed
