"""What an earlier version left open to other users is closed once, also where one of them holds a lock."""

import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tailrace.errors import Locked
from tailrace.host import earlier_state, lock

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
HOLD = """
import fcntl, os, sys
os.chdir(os.path.dirname(sys.argv[1]))  # as if the folders above it were open, too
if sys.argv[2] == "other":
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
file = open(os.path.basename(sys.argv[1]))
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path):
    """A folder as an earlier version made it."""
    folder = tmp_path / "state"
    (folder / "local").mkdir(parents=True)
    for name, content in {
        "run.lock": "",
        "local/lock": "",
        "local/journal.jsonl": "a line\n",
        "local/a.log": "x",
    }.items():
        (folder / name).write_text(content)
    (folder / "start.sh").write_text("")
    (folder / "start.sh").chmod(0o755)
    (folder / "link").symlink_to("/etc/hostname")
    for path in (folder, folder / "local"):
        path.chmod(0o755)
    return folder


@contextmanager
def held(path, who):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), who], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"held\n"
        yield
        child.stdin.close()


def modes(folder):
    return {path.name: path.lstat().st_mode & 0o777 for path in (folder, *folder.rglob("*")) if not path.is_symlink()}


def test_everything_is_closed_and_what_it_says_stays(state):
    """Folders, files, programs; where a link leads to is left alone."""
    outside, names = Path("/etc/hostname").stat().st_mode, set(state.iterdir())
    earlier_state.tighten(state)
    assert set(state.iterdir()) == names
    closed = modes(state)
    assert closed.pop("start.sh") == closed.pop("state") == closed.pop("local") == 0o700
    assert set(closed.values()) == {0o600}
    assert (state / "local/journal.jsonl").read_text() == "a line\n"
    assert Path("/etc/hostname").stat().st_mode == outside


def test_what_is_closed_costs_one_look(state, monkeypatch):
    """It is looked at once; negative control: the first time, it was walked."""
    walked = []
    walk = os.walk
    monkeypatch.setattr(earlier_state.os, "walk", lambda folder: walked.append(folder) or walk(folder))
    for _ in range(3):
        earlier_state.tighten(state)
    assert walked == [state]


def test_the_packages_of_an_environment_keep_their_modes(state):
    """They are links into a cache that other environments share."""
    (state / "env" / "lib").mkdir(parents=True)
    (state / "env" / "pyvenv.cfg").touch()
    (state / "env" / "lib" / "a.py").touch(0o644)
    earlier_state.tighten(state)
    assert modes(state)["a.py"] == 0o644


@as_root
@pytest.mark.parametrize("name", ["run.lock", "local/lock"])
def test_a_lock_that_another_user_holds_is_taken_all_the_same(state, name):
    """He could read the file, and so lock it. Negative control: before, he has it, and keeps everybody out."""
    with held(state / name, "other"):
        with pytest.raises(Locked), lock.hold(state / name, "run", "wait"):
            pass
        earlier_state.tighten(state)
        with lock.hold(state / name, "run", "wait"):
            assert lock.is_held(state / name)


@as_root
def test_a_journal_that_another_user_has_locked_is_written_all_the_same(state):
    """Its writers wait for its lock without a limit; a line that is in it stays."""
    path = state / "local/journal.jsonl"
    with held(path, "other"):
        earlier_state.tighten(state)
        with lock.opened(path, "ab") as file:
            file.write(b"another\n")
    assert path.read_text() == "a line\nanother\n"


def test_a_lock_of_this_user_stays_held(state):
    """An earlier version may be at work: it is not let in upon."""
    with held(state / "run.lock", "same"):
        earlier_state.tighten(state)
        with pytest.raises(Locked), lock.hold(state / "run.lock", "run", "wait"):
            pass


def test_who_waited_for_a_file_that_was_replaced_gets_the_new_one(tmp_path, monkeypatch):
    """Else two would each hold a lock, on two files of one name. Negative control: the one that was opened is gone."""
    path, opened = tmp_path / "lock", []
    path.touch()

    def flock(file, how):
        opened.append(os.fstat(file.fileno()).st_ino)
        if len(opened) == 1:
            new.replace(path)
        fcntl.flock(file, how)

    new = tmp_path / "new"
    new.touch()
    monkeypatch.setattr(lock, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=fcntl.LOCK_EX, LOCK_NB=fcntl.LOCK_NB))
    with lock.opened(path, "a+") as file:
        assert os.fstat(file.fileno()).st_ino == path.stat().st_ino == opened[1] != opened[0]
