"""Another user of the machine tries every listener, socket, file and name that tailrace's processes have.

What there is, is read from /proc and from the folders, and from no list; `test_threat_model.py` asks for its rows.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from project_at_work import SECRET, SERVICE, Project

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
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


@pytest.fixture(scope="module")
def project():
    root = Path(tempfile.mkdtemp(prefix="project-"))
    root.chmod(0o755)
    project = Project(root, {"local": {"service": SERVICE, "rollout": {"bake_s": 0.1, "settle_s": 0}}}, run="local")
    try:
        project.begin()
        yield project
    finally:
        project.end()
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
    door = f":{project.state('local', 'layout.json')['ingress']['port']}"
    door = next(part.place for part in found if part.kind == "door" and part.place.endswith(door))
    assert urllib.request.urlopen(f"http://{door}/plan.yaml", timeout=60).status == 200
    assert project.run.poll() is None


def test_no_secret_is_in_what_everybody_may_see_of_a_process(project):
    """The words of a command are for all users. Negative control: its environment has the secret, and is not."""
    assert not [p.pid for p in project.processes() if SECRET in " ".join(p.cmdline())]
    assert [p.pid for p in project.processes() if SECRET in p.environ().values()]


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
