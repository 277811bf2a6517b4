"""Who may import whom: ARCHITECTURE.md, walked through the source, and what stays out of the service image."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIB = ROOT / "lib" / "tailrace"
MAP = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")

# From the ground up. A room may import the layers below its own, and itself; never a neighbour in its layer.
GROUND = {
    "credentials",
    "descriptors",
    "errors",
    "headers",
    "histogram",
    "masking",
    "measures",
    "numbers",
    "objectives",
    "percentiles",
    "policy_rules",
    "protocol",
    "records",
    "request_headers",
    "secret_files",
    "server_metrics",
    "system_errors",
    "validity",
    "verdict",
}
LAYERS = [
    GROUND,
    {"host", "profile"},
    {"client", "simulator", "load", "analysis", "run"},
    {"service", "bench", "deploy"},
    {"testbed", "checks", "report"},
    {"notebook", "runner"},
    {"cli"},
    {"__main__"},
]
# Where a layer is not the whole truth: all that the room may import.
NARROWER = {
    "client": GROUND,
    "simulator": GROUND,
    "analysis": GROUND,
    "load": GROUND | {"host"},
    "bench": GROUND | {"profile", "load", "analysis"},
    "deploy": GROUND | {"host", "profile"},
    "service": GROUND | {"client"},
}
# Between neighbours of one layer, each for a reason: the modules of the ground may build on each other.
WIDER: dict[str, set[str]] = dict.fromkeys(GROUND, GROUND)
HEAVY = [
    "IPython",
    "docker",
    "matplotlib",
    "nbformat",
    "numpy",
    "pandas",
    "papermill",
    "psutil",
    "pyarrow",
    "rich",
    "yaml",
]
LIGHT = ["tailrace", "tailrace.cli", "tailrace.client", "tailrace.service", "tailrace.simulator"]


def allowed(room: str) -> set[str]:
    if room in NARROWER:
        return NARROWER[room]
    below: set[str] = set()
    for layer in LAYERS:
        if room in layer:
            return below | WIDER.get(room, set())
        below |= layer
    raise AssertionError(f"room {room!r} has no place in LAYERS yet: give it one")


def imported_rooms(source: str) -> set[str]:
    """Return the rooms of tailrace that `source` imports, anywhere in it."""
    rooms = set()
    for name in _imported(ast.parse(source)):
        parts = name.split(".")
        if parts[0] == "tailrace" and len(parts) > 1:
            rooms.add(parts[1])
    return rooms - {"__version__"}


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the room: write them in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(LIB).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(LIB.rglob("*.py")), ids=lambda path: str(path.relative_to(LIB)))
def test_a_module_imports_only_what_lies_below_it(path):
    """Each import of a module goes down the layers, never up and never to a sibling."""
    room = room_of(path)
    if room == "__init__":
        assert imported_rooms(path.read_text()) <= {"client"}
        return
    assert imported_rooms(path.read_text()) - {room} <= allowed(room)


def test_a_sibling_is_seen():
    """The rule can fail: an import of a sibling, even inside a function, is found."""
    rooms = imported_rooms("def f():\n    from tailrace.load import run\n")
    assert not rooms <= allowed("deploy")


@pytest.mark.parametrize("name", LIGHT)
def test_a_light_module_imports_without_the_heavy_packages(name):
    """What a service image needs is importable where pandas, papermill and their like are not installed."""
    assert _import_without(name, HEAVY).returncode == 0, _import_without(name, HEAVY).stderr


def test_a_heavy_module_does_not_import_without_them():
    """The check above can fail: the profile needs YAML."""
    assert "yaml" in _import_without("tailrace.profile", HEAVY).stderr


def _import_without(name: str, blocked: list[str]) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); import {name}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", LIGHT)
def test_an_import_changes_nothing(name):
    """Importing neither configures logging, nor sets an event-loop policy, nor warns, nor prints."""
    program = (
        "import asyncio, logging; policy = type(asyncio.get_event_loop_policy())\n"
        f"import {name}\n"
        "assert not logging.getLogger().handlers and type(asyncio.get_event_loop_policy()) is policy"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning:asyncio", "-c", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def floors(page: str) -> list[set[str]]:
    """Return the rooms of each floor in the map of `page`, from the ground up."""
    rows: dict[str, set[str]] = {}
    for floor, rooms in re.findall(r"(?m)^\| (ground|\d) \| (`.*?`) \|", page):
        rows.setdefault(floor, set()).update(name.strip("/") for name in re.findall(r"`([\w/]+)`", rooms))
    return list(rows.values())


def missing(page: str) -> list[str]:
    """Return the names in `page` that mean a module, a class, a function or a path, and do not exist."""
    names = set(re.findall(r"`([^`\s]+)`", page))
    return sorted(name for name in names if _looks_like_a_place(name) and not _exists(name))


def _looks_like_a_place(name: str) -> bool:
    return bool(re.fullmatch(r"[\w./*]+", name)) and (
        "/" in name or name.split(".")[0] in {*GROUND, *rooms_of_the_map()}
    )


def rooms_of_the_map() -> set[str]:
    return set().union(*floors(MAP))


def _exists(name: str) -> bool:
    if "/" in name or name.endswith((".py", ".md", ".yaml")):
        places = (ROOT, LIB, LIB / "client", LIB / "deploy")
        return name.startswith(("runs/", "results/", "lib/")) or any(
            any(place.glob(name.rstrip("/"))) for place in places
        )
    parts = f"tailrace.{name}".split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for attribute in parts[cut:]:
            found = getattr(found, attribute, None)
        return found is not None
    return False


def test_the_map_shows_the_layers():
    """The floors in ARCHITECTURE.md are the layers that the imports keep."""
    assert floors(MAP) == LAYERS[: len(floors(MAP))]
    assert LAYERS[len(floors(MAP)) :] == [{"__main__"}]


def test_the_map_shows_the_narrower_rules():
    """What a room may import at most stands in its row."""
    rows = re.findall(r"(?m)^\| (?:ground|\d) \| (`.*?`) \| .* \| ?(.*?) ?\|$", MAP)
    shown = {}
    for rooms, only in rows:
        allowed_rooms = set(re.findall(r"`(\w+)`", only)) | (GROUND if "the ground" in only else set())
        shown |= {name.strip("/"): allowed_rooms for name in re.findall(r"`([\w/]+)`", rooms) if only}
    assert {room: names for room, names in shown.items() if room not in GROUND} == NARROWER


def test_the_map_names_what_exists():
    """Every module, class, function and path in ARCHITECTURE.md exists."""
    assert missing(MAP) == []


def test_a_wrong_name_in_the_map_is_seen():
    """The check above can fail: by a function, a module and a path that do not exist."""
    wrong = ["deploy.switch.no_such", "deploy/no_such.py", "verdict.no_such"]
    assert missing(" ".join(f"`{name}`" for name in [*wrong, "deploy.switch.run", "deploy/switch.py"])) == sorted(wrong)
