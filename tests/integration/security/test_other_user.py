"""Another user of the machine tries every listener, socket, file and name that tailrace's processes have.

What there is, is read from /proc and from the folders, and from no list; each must have its row in the threat model.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from tailrace.host import waiting

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
MODEL = Path(__file__).parents[3] / "runbook" / "procedures" / "security.md"
SERVICE = {
    "command": [sys.executable, "-m", "http.server", "--bind", "{host}", "--directory", "runbook", "{port}"],
    "health": {"live": "/plan.yaml", "ready": "/plan.yaml", "startup": "/plan.yaml"},
    "smoke": [{"path": "/plan.yaml", "contains": "steps"}],
    "secrets": ["OTHER_USER_KEY"],
}
SECRET = "sk-test-of-another-user-0123456789"
PARAMETERS = 'profile: str = "local"  # name\nrun_dir: str = ""  # of the run\n'
WAIT = """
import time
from pathlib import Path
from tailrace import notebook
from tailrace.client.stores.entry import Entry
from tailrace.client.stores.sqlite import Sqlite

step = notebook.begin("01_wait", profile=profile, run_dir=run_dir)
store, later = Sqlite("../.tailrace/answers/cache.sqlite"), time.time() + 3600
store.put("key", Entry(200, (), (b"an answer",), False, time.time(), later, "m", 1, 1, 0, 0, 0.1))
Path("../waiting").touch()
while not Path("../go").exists():
    time.sleep(0.05)
step.check("it went on", True, "1 of 1")
step.finish()
"""
# Reads [kind, place] lines, becomes nobody, and says for each what could be done.
NOBODY = r"""
import encodings.idna, encodings.latin_1, fcntl, json, os, socket, sys
tries = json.load(sys.stdin)
os.setgroups([]), os.setgid(65534), os.setuid(65534)
GREETING = (b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0")).ljust(64, b"\0")
READY = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH"

def read(place):
    os.listdir(place) if os.path.isdir(place) else open(place, "rb").read(1)

def write(place):
    open(os.path.join(place, "made") if os.path.isdir(place) else place, "ab").close()

def lock(place):
    fcntl.flock(os.open(place, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)

def stream(place):
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(place.replace("@", "\0", 1))

def datagram(place):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).connect(place.replace("@", "\0", 1))

def signal(place):
    os.kill(int(place), 0)

def connect(place):
    host, port = place.rsplit(":", 1)
    return socket.create_connection((host, int(port)), 60)

def door(place):
    connect(place).close()
    return "a door"

def greet(place):
    with connect(place) as connection:
        connection.settimeout(60)
        connection.sendall(GREETING + READY)
        answer = b""
        try:
            while b"Socket-Type" not in answer[:-8] and (piece := connection.recv(256)):
                answer += piece
        except ConnectionError:
            pass
    if len(answer) <= 64:
        return "closed"  # it speaks to nobody who does not have its key
    return " ".join(answer[at:][:4].decode("latin-1") for at in (12, answer.find(b"Socket-Type") + 15))

def tried(kind, place):
    try:
        return globals()[kind](place) or "done"
    except BlockingIOError:
        return "done"
    except (OSError, ValueError) as error:
        return type(error).__name__

print(json.dumps([tried(*one) for one in tries]))
"""
WAYS = {
    "file": ("read", "write", "lock"), "folder": ("read", "write", "lock"), "socket": ("stream", "datagram"),
    "memory": ("read", "write", "lock"), "process": ("signal",), "door": ("door",), "port": ("greet",),
}  # fmt: skip
KEPT_OUT = {"PermissionError"}


@dataclass(frozen=True)
class Part:
    """Something that a process of ours has, or that is in our folders."""

    kind: str
    place: str


class Project:
    """A project that everybody may enter, with a deployment and a run that waits."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.chmod(0o755)
        (root / "notebooks").mkdir()
        (root / "runbook" / "profiles").mkdir(parents=True)
        (root / "runbook" / "plan.yaml").write_text('steps:\n  - {"notebook": "notebooks/01_wait.ipynb"}\n')
        content = {"service": SERVICE, "rollout": {"bake_s": 0.1, "settle_s": 0}}
        (root / "runbook" / "profiles" / "local.yaml").write_text(yaml.safe_dump(content))
        cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(WAIT)]
        nbformat.write(new_notebook(cells=cells), root / "notebooks" / "01_wait.ipynb")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `tailrace` under the umask that keeps nothing from anybody."""
        return subprocess.Popen(
            [sys.executable, "-m", "tailrace", *arguments], cwd=self.root, umask=0, text=True,
            env={**os.environ, "OTHER_USER_KEY": SECRET}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def call(self, *arguments: str) -> str:
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=200)
        assert process.returncode == 0, said
        return said

    def processes(self) -> list[psutil.Process]:
        """Return all processes of the project, by their folder, their words or their environment."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._has(process)]

    def _has(self, process: psutil.Process) -> bool:
        try:
            told = [process.cwd(), *process.cmdline(), *process.environ().values()]
        except psutil.Error:
            return False
        return any(str(self.root) in text for text in told)

    def front_door(self) -> str:
        layout = json.loads((self.root / ".tailrace" / "local" / "layout.json").read_text())
        return f":{layout['ingress']['port']}"

    def doors(self) -> set[int]:
        """Return the ports of the edge and of the instances: the model says who reaches them."""
        told = [path.read_text() for path in (self.root / ".tailrace" / "local").rglob("*.json")]
        return {int(port) for text in told for port in re.findall(r'"port": "?(\d+)', text)}

    def kept(self) -> set[Part]:
        """Return what is in the folders, but for the packages of environments."""
        found = set()
        for top in (self.root / ".tailrace", self.root / "runs"):
            for path in (top, *top.rglob("*")):
                if not path.is_symlink():
                    kind = "socket" if path.is_socket() else "folder" if path.is_dir() else "file"
                    found.add(Part(kind, str(path)))
        return found

    def had(self) -> set[Part]:
        """Return what the processes have: listeners, sockets, files that they write, shared memory, themselves."""
        found, unix = set(), dict(_unix_sockets())
        for process in self.processes():
            found.add(Part("process", str(process.pid)))
            listeners = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
            found |= {Part("door" if a.port in self.doors() else "port", f"{a.ip}:{a.port}") for a in listeners}
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
            found |= {Part("memory", path) for path in re.findall(r"/dev/shm/\S+", mapped)}
            for handle in Path(f"/proc/{process.pid}/fd").iterdir():
                place = str(handle.readlink()) if handle.is_symlink() else ""
                if place.startswith("socket:[") and (name := unix.get(place[8:-1])):
                    found.add(Part("socket", name if name[0] in "/@" else str(Path(process.cwd()) / name)))
                elif place.startswith("/dev/shm/"):
                    found.add(Part("memory", place))
                elif place.startswith(str(self.root)) and " (deleted)" not in place and Path(place).is_file():
                    found.add(Part("file", place))
        return found


def _unix_sockets():
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        if len(fields := line.split()) > 7:
            yield fields[6], fields[7]


def tried(parts):
    """Return what nobody could do with each of them: way → outcome."""
    tries = [(part, way) for part in parts for way in ([*WAYS[part.kind]])]
    done = subprocess.run(
        [sys.executable, "-c", NOBODY], input=json.dumps([(way, part.place) for part, way in tries]), text=True,
        capture_output=True, check=True, cwd="/",
    )  # fmt: skip
    found = {}
    for (part, way), outcome in zip(tries, json.loads(done.stdout), strict=True):
        found.setdefault(part, {})[way] = outcome
    return found


def table(found, root):
    rows = [f"{part.kind:<8} {part.place.replace(str(root), '.'):<70} {outcomes}" for part, outcomes in found.items()]
    return "\n".join(sorted(rows))


def told(heading):
    """Return the names in a table of the threat model as patterns: a word in capitals is one, `*` all that follows."""
    section = MODEL.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = ["|".join(line.split("|")[1:3]) for line in section.splitlines() if line.startswith("| ")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    return [re.compile(re.sub("[A-Z]{3,}", "[^/]+", re.escape(name)).replace(r"\*", ".+")) for name in names]


@pytest.fixture(scope="module")
def project():
    root = Path(tempfile.mkdtemp(prefix="project-"))
    project = Project(root)
    run = None
    try:
        run = project.start("run")
        assert waiting.until(lambda: (root / "waiting").exists() or run.poll() is not None, 200)
        assert run.poll() is None, run.stdout.read()
        project.call("deploy")  # a run begins by taking down what was left running
        project.run = run
        yield project
    finally:
        (root / "go").touch()
        if run is not None:
            with run:
                run.communicate(timeout=200)
        project.start("down").communicate(timeout=200)
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def parts(project):
    found = project.kept() | project.had()
    kinds = {part.kind for part in found}
    assert kinds == {"file", "folder", "socket", "memory", "process", "door", "port"}, kinds
    assert len(project.processes()) >= 6, "the edge and its supervisor, an instance and its, the run and its kernel"
    return found


def test_nothing_is_read_and_nothing_is_stopped(project, parts):
    """He may connect to the doors, as any caller; kernels' ports want a key that is in a file."""
    found = tried(parts)
    print(table(found, project.root))
    reached = {
        part
        for part, outcomes in found.items()
        if part.kind not in ("door", "port") and set(outcomes.values()) != KEPT_OUT
    }
    assert not reached
    ports = [outcomes["greet"] for outcomes in found.values() if "greet" in outcomes]
    assert sorted(ports) == ["NULL PULL", *["closed"] * 5], "of a kernel"
    door = next(part.place for part in found if part.kind == "door" and part.place.endswith(project.front_door()))
    assert urllib.request.urlopen(f"http://{door}/plan.yaml", timeout=60).status == 200
    assert project.run.poll() is None


def test_no_secret_is_in_what_everybody_may_see_of_a_process(project):
    """The words of a command are for all users. Negative control: its environment has the secret, and is not."""
    assert not [p.pid for p in project.processes() if SECRET in " ".join(p.cmdline())]
    assert [p.pid for p in project.processes() if SECRET in p.environ().values()]


def test_everything_has_its_row_in_the_threat_model(project, parts):
    """Negative control: a file that has none is found."""
    files, names = told("Files and modes"), told("Sockets and names")

    def missing(places):
        below = [place.removeprefix(f"{project.root}/") for place in places]
        return sorted(
            n
            for n in below
            if not any(p.fullmatch(n) for p in files) and not any(p.fullmatch(Path(n).name) for p in names)
        )

    assert missing(["new/file", "/dev/shm/new"]) == ["/dev/shm/new", "new/file"]
    found = missing(part.place for part in parts if part.kind in ("file", "memory", "socket"))
    assert found == [], "\n".join(found)


def test_with_the_modes_of_before_everything_is_read_and_locked(project, parts):
    """The negative control of all: it is the modes that keep another user out."""
    modes = {
        part.place: Path(part.place).stat().st_mode & 0o7777
        for part in parts
        if part.place.startswith(str(project.root)) and part.kind in ("file", "folder", "socket")
    }
    try:
        for place, mode in modes.items():
            Path(place).chmod(0o777 if Path(place).is_dir() else 0o666 if Path(place).is_socket() else mode | 0o044)
        found = tried([part for part in parts if part.place in modes])
    finally:
        for place, mode in modes.items():
            Path(place).chmod(mode)
        for place in modes:
            if Path(place).is_dir():
                (Path(place) / "made").unlink(missing_ok=True)
    files = [outcomes for part, outcomes in found.items() if part.kind == "file"]
    assert {(o["read"], o["lock"]) for o in files} == {("done", "done")}
    assert all(
        "done" in o.values()
        for part, o in found.items()
        if part.kind == "socket" and part.place in {p.place for p in project.had()}
    )
