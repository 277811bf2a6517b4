"""A deployment, a simulated provider and a run, held against the threat model: all that they have, and all its rows."""

import json
import os
import shutil
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

import threat_model
from project_at_work import SERVICE, Project, listening
from tailrace.host import files, ports
from threat_model import PAGE

pytestmark = pytest.mark.deep
ROOT = Path(__file__).parents[3]
COPIED = ("runbook", "lib", "pyproject.toml", "README.md", "LICENSE", "requirements-service.lock")
"""What the build of our own service reads."""
SERVE = """
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="runbook")
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), handler).serve_forever()
"""
ABSENT = {
    "for a second, before a load test", "for a moment, before the client is measured", "an image is packed", "Docker",
    "during a build, an inspection, a calibration", "during `promote`, `abort`", "`make lab`",
}  # fmt: skip
"""When the parts of a row are there, and not in this test: `tests/unit/test_threat_model.py` finds them in the code."""


@dataclass
class Seen:
    """What there was while the run waited, and after it: with the mode of each path and each name."""

    project: Project
    listeners: dict[str, str] = field(default_factory=dict)
    names: dict[str, int | None] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)

    def look(self) -> None:
        self.listeners |= listeners(self.project)
        self.names |= names(self.project)
        self.paths |= paths(self.project)
        self.elsewhere |= written_elsewhere(self.project)


def listeners(project):
    """Return what listens: address → its name in the threat model, "" when it is none of those that we know."""
    known = {}
    for profile in project.profiles:
        layout = project.state(profile, "layout.json")
        known |= {layout[door]["port"]: door for door in ("ingress", "probe", "preview_blue", "preview_green")}
        known[layout["settings"]["metrics_port"]] = "metrics"
        for path in (project.root / ".tailrace" / profile / "processes").glob("*.json"):
            if found := json.loads(path.read_text()).get("labels", {}).get("port"):
                known[int(found)] = "simulator" if path.stem == "provider" else "instance"
    for path in (project.root / ".tailrace" / "kernels").glob("kernel-*.json"):
        known |= {port: "kernel" for name, port in json.loads(path.read_text()).items() if name.endswith("_port")}
    found = {}
    for process in project.processes():
        ours = listening(process)
        if "kernel" in {known.get(port) for _, port in ours}:
            (output,) = [port for _, port in ours if port not in known]
            known[output] = "output"
        found |= {f"{ip}:{port}": known.get(port, "") for ip, port in ours}
    return found


def names(project):
    """Return sockets and shared memory: path, or name in the abstract namespace → mode; None for the latter."""
    places = [part.place for part in project.had() | project.kept() if part.kind in ("socket", "memory")]
    return {place: stat.S_IMODE(Path(place).stat().st_mode) if place[0] == "/" else None for place in places}


def paths(project):
    """Return the files and folders of the state and of the runs: path, with a slash after a folder's → mode."""
    found = {}
    for part in project.kept():
        if part.kind != "socket":
            slash = "/" if part.kind == "folder" else ""
            name = part.place.removeprefix(f"{project.root}/") + slash
            found[name] = stat.S_IMODE(Path(part.place).stat().st_mode)
    return found


def written_elsewhere(project):
    """Return the files with a name that our processes have open for writing, and that are not in our folders."""
    found = set()
    for process in project.processes():
        for handle in _handles(process):
            try:
                place, info = str(handle.readlink()), Path(f"/proc/{process.pid}/fdinfo/{handle.name}").read_text()
            except OSError:
                continue
            flags = int(info.partition("flags:")[2].split()[0], 8)
            if flags & os.O_ACCMODE != os.O_RDONLY and Path(place).is_file():
                found.add(place)
    ours = tuple(str(project.root / top) for top in (".tailrace/", "runs/"))
    return {place for place in found if not place.startswith((*(f"{top}/" for top in ours), "/dev/shm/"))}


def _handles(process):
    with suppress(FileNotFoundError):  # it has ended
        return list(Path(f"/proc/{process.pid}/fd").iterdir())
    return []


def expected(row):
    """Return whether what a row says has to be there in this test."""
    return row["when"] not in ABSENT


def wrong_listeners(page, found):
    rows = threat_model.rows("Listeners", page)
    told = {name: row for row in rows for name in threat_model.named(row["listener"])[:2]}
    wrong = [f"{address} ({name or 'unknown'}) has no row" for address, name in found.items() if name not in told]
    return wrong + [f"{n}: nothing listens" for n, row in told.items() if expected(row) and n not in found.values()]


def wrong_names(page, found):
    rows = [row for row in threat_model.rows("Sockets and names", page) if threat_model.named(row["name"])]
    told = [(threat_model.pattern(threat_model.named(row["name"])[0]), row) for row in rows]
    wrong, met = [], []
    for name, mode in found.items():
        row = next((row for pattern, row in told if pattern.fullmatch(Path(name).name)), None)
        met.append(row)
        if row is None or mode is None or f"{mode:04o}" not in threat_model.named(row["mode"]):
            wrong.append(f"{name} has mode {mode and f'{mode:04o}'}; its row: {row and row['mode']}")
    return wrong + [f"{row['name']}: there is none" for _, row in told if expected(row) and row not in met]


def wrong_files(page, found):
    rows = threat_model.rows("Files and modes", page)
    told = [(name, threat_model.pattern(name), row) for row in rows for name in threat_model.named(row["where"])
            if name.startswith((".tailrace", "runs"))]  # fmt: skip
    wrong, met = [], set()
    for path, mode in found.items():
        fits = (name for name in told if path.endswith("/") == name[0].endswith("/") and name[1].fullmatch(path))
        name, _, row = next(fits, ("", None, None))
        met.add(name)
        if row is None or not _fits(mode, row["mode"]):
            wrong.append(f"{path} has mode {mode:04o}; its row: {row and row['mode']}")
    return wrong + [f"{name}: there is none" for name, _, row in told if expected(row) and name not in met]


def _fits(mode, cell):
    codes = [int(code, 8) for code in threat_model.named(cell) if code.isdigit()]
    return not mode & ~codes[0] if cell.startswith("at most ") else mode in codes


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        (shutil.copytree(ROOT / name, root / name, ignore=ignored) if (ROOT / name).is_dir()
         else shutil.copy(ROOT / name, root / name))  # fmt: skip
    (root / "serve.py").write_text(SERVE)
    answers = files.make_folder(root / ".tailrace" / "answers") / "cache.sqlite"
    quick = {"bake_s": 0.1, "settle_s": 0}
    command = {**SERVICE, "command": [sys.executable, "serve.py", "{host}", "{port}"]}
    hooks = {"before_deploy": {"command": ["sh", "-c", "echo hooked"]}}
    project = Project(root, {
        "ours": {"extends": "local", "rollout": quick, "edge": {"metrics_port": ports.free()},
                 "service": {"environment": {"TAILRACE_CACHE": f"sqlite:{answers}"}}},
        "command": {"service": command, "rollout": {**quick, "hooks": hooks}},
    }, run="local")  # fmt: skip
    try:
        project.begin()
        seen = Seen(project)
        seen.look()
        project.finish_run()
        seen.look()
        yield seen
    finally:
        project.end()


@contextmanager
def opened(project, text):
    """Run a program of the project that opens something, says so, and waits."""
    program = f"import socket, sys\n{text}\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        process.stdin.close()


def test_every_listener_has_its_row_and_every_row_its_listener(seen):
    assert wrong_listeners(PAGE, seen.listeners) == []


def test_every_socket_and_shared_memory_has_its_row_and_its_mode(seen):
    assert wrong_names(PAGE, seen.names) == []


def test_every_file_and_folder_has_its_row_and_its_mode(seen):
    """Under a umask of 0, while a run goes on and after it."""
    wrong = wrong_files(PAGE, seen.paths)
    assert wrong == [], "\n".join(wrong)


def test_nothing_is_written_outside_the_folders(seen):
    """What the processes have open for writing is in the state, in a run, or is shared memory that has its row."""
    assert seen.elsewhere == set()


def test_the_rows_that_need_more_are_said_to():
    """What this test leaves out stands in the page, word by word."""
    headings = ("Listeners", "Sockets and names", "Files and modes")
    assert {row["when"] for heading in headings for row in threat_model.rows(heading)} >= ABSENT


@pytest.mark.parametrize("kind", ["AF_INET, socket.SOCK_STREAM", "AF_INET, socket.SOCK_DGRAM"])
def test_a_listener_that_is_added_is_seen(seen, kind):
    """The negative control: of TCP, and of UDP."""
    listen = "at.listen()" if "STREAM" in kind else ""
    with opened(seen.project, f"at = socket.socket(socket.{kind}); at.bind(('127.0.0.1', 0)); {listen}") as process:
        ((ip, port),) = listening(psutil.Process(process.pid))
        found = listeners(seen.project)
        assert f"{ip}:{port} (unknown) has no row" in wrong_listeners(PAGE, found)


@pytest.mark.parametrize("name", ["\0new", "new"])
def test_a_socket_that_is_added_is_seen(seen, name):
    """The negative control: in the abstract namespace, and in a folder."""
    bind = f"at = socket.socket(socket.AF_UNIX); at.bind({name!r}); at.listen()"
    with opened(seen.project, bind):
        (wrong,) = wrong_names(PAGE, names(seen.project))
    assert wrong.endswith("its row: None")


def test_a_row_or_a_mode_that_is_wrong_is_seen(seen):
    """The negative controls: a row taken out or added, a mode of the page and of the disk, a file written elsewhere."""
    probe, journal, admin = (next(line for line in PAGE.splitlines() if line.startswith(f"| {start}"))
                             for start in ("`probe`", "journal", "`admin.sock`"))  # fmt: skip
    assert [w.partition(" ")[2] for w in wrong_listeners(PAGE.replace(f"{probe}\n", ""), seen.listeners)] == [
        "(probe) has no row"
    ] * 2
    more = PAGE.replace(probe, f"{probe}\n{probe.replace('`probe`', '`new`')}")
    assert wrong_listeners(more, seen.listeners) == ["new: nothing listens"]
    (wrong,) = wrong_names(PAGE.replace(admin, admin.replace("`0600`", "`0660`")), {"/x/admin.sock": 0o600})[:1]
    assert wrong == "/x/admin.sock has mode 0600; its row: `0660`"
    assert len(wrong_files(PAGE.replace(f"{journal}\n", ""), seen.paths)) == 2, "of each profile"
    assert len(wrong_files(PAGE.replace(journal, journal.replace("`0600`", "`0644`")), seen.paths)) == 2
    path = seen.project.root / ".tailrace" / "ours" / "journal.jsonl"
    path.chmod(0o640)
    try:
        assert wrong_files(PAGE, {**seen.paths, **paths(seen.project)}) == [
            ".tailrace/ours/journal.jsonl has mode 0640; its row: `0600`"
        ]
    finally:
        path.chmod(0o600)
    with opened(seen.project, "file = open('new.txt', 'w')"):
        assert written_elsewhere(seen.project) == {str(seen.project.root / "new.txt")}
