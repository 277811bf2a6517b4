"""One at a time, and who only looks is in nobody's way."""

import threading

import pytest

from tailrace.errors import Locked
from tailrace.host import lock


def test_the_second_one_is_told_who_holds_it(tmp_path):
    """And what to do; once it is free, it can be had."""
    path = tmp_path / "lock"
    with lock.hold(path, "deploy", "wait"):
        assert lock.holder(path).startswith("deploy (pid ")
        with pytest.raises(Locked, match=r"deploy \(pid \d+\) is under way; wait"), lock.hold(path, "other", "wait"):
            pass
    assert lock.holder(path) == ""
    with lock.hold(path, "other", "wait"):
        assert lock.is_held(path)


def test_looking_whether_it_is_held_does_not_refuse_anybody(tmp_path):
    """`status` in a loop beside a deploy: neither sees the other's look for a deploy."""
    path, looks, stop = tmp_path / "lock", [], threading.Event()
    path.touch()

    def look():
        while not stop.is_set():
            looks.append(lock.is_held(path))

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        while len(looks) < 200:
            pass
        free = list(looks)
        for _ in range(200):
            with lock.hold(path, "deploy", "wait"):
                pass
    finally:
        stop.set()
        for looker in lookers:
            looker.join()
    assert not any(free)
