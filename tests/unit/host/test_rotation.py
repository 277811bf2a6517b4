"""Rotation of a log that a program goes on writing: bounded, and nothing is lost."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tailrace.host import log_output, rotation, waiting

WRITER = """
import sys
with open(sys.argv[1], "ab", buffering=0) as log:
    for n in range(int(sys.argv[2])):
        log.write(b"%07d %s\\n" % (n, b"x" * 90))
"""


def whole(log):
    return b"".join(Path(part).read_bytes() for part in rotation.files(str(log)) if Path(part).exists())


def collapses(folder):
    """Whether the file system can cut the beginning off a file."""
    probe = folder / "probe"
    probe.write_bytes(b"x" * (3 * rotation.BLOCK))
    rotation.rotate(str(probe), rotation.BLOCK)
    return probe.stat().st_size > 0


def test_a_short_log_is_left_alone(tmp_path):
    """There is nothing to rotate."""
    log = tmp_path / "a.log"
    log.write_bytes(b"line\n" * 100)
    assert not rotation.rotate(str(log), 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_log_that_is_written_while_it_is_rotated_loses_no_line(tmp_path):
    """A chatty program writes 10 MB; its log is rotated all the time, and the parts together are what it wrote."""
    if not collapses(tmp_path):
        pytest.skip("this file system cannot cut the beginning off a file")
    log, lines = tmp_path / "a.log", 100_000
    log.touch()
    kept = b""
    with subprocess.Popen([sys.executable, "-c", WRITER, log, str(lines)]) as writer:
        while writer.poll() is None or log.stat().st_size > 1 << 20:
            if rotation.rotate(str(log), 1 << 20):
                kept += (tmp_path / "a.log.1").read_bytes()
    kept += log.read_bytes()
    numbers = [int(line[:7]) for line in kept.splitlines()]
    assert numbers == list(range(lines))


def test_the_parts_are_few_and_bounded(tmp_path, monkeypatch):
    """However often it is rotated, and however much was written between two looks."""
    monkeypatch.setattr(rotation, "MAX_BYTES", 1 << 20)
    log = tmp_path / "a.log"
    for _ in range(6):
        with log.open("ab") as file:
            file.write(b"y" * (5 << 20))
        rotation.rotate(str(log))
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {"a.log", "a.log.1", "a.log.2"}
    assert max(sizes.values()) <= 1 << 20


def test_a_file_system_that_cannot_cut_gets_a_truncated_file(tmp_path, monkeypatch):
    """It is still bounded."""
    monkeypatch.setattr(rotation, "_COLLAPSE_RANGE", 0xFFFF)  # no such act
    log = tmp_path / "a.log"
    log.write_bytes(b"z" * (1 << 20))
    assert rotation.rotate(str(log), 1 << 16)
    assert log.stat().st_size == 0


@pytest.mark.parametrize(
    ("before", "now", "seconds"),
    [(0, 0, 1.0), (0, 1 << 20, 1.0), (0, 9 << 20, pytest.approx(1 / 9)), (0, 12 << 20, 0.02), (9 << 20, 1 << 20, 1.0)],
)
def test_it_is_looked_at_again_before_it_is_full(before, now, seconds):
    """A second at most, sooner when it grows fast."""
    assert rotation.look_again_s(before, now, 1.0) == seconds


def test_the_last_lines_are_read_across_the_parts(tmp_path):
    """A line that was cut in two by a rotation is whole again."""
    log = tmp_path / "a.log"
    log.write_bytes(b"".join(b"%05d\n" % n for n in range(40_000)))
    rotation.rotate(str(log), 1000)
    assert (tmp_path / "a.log.1").exists()
    assert log_output.last(log, 30_000).splitlines() == [b"%05d" % n for n in range(10_000, 40_000)]
    assert log_output.last(log, 0) == log_output.last(tmp_path / "none.log", 5) == b""


def test_a_follower_sees_every_line_across_a_rotation(tmp_path):
    """It begins with the last lines, and ends when the program has."""
    if not collapses(tmp_path):
        pytest.skip("this file system cannot cut the beginning off a file")
    log, going, seen = tmp_path / "a.log", threading.Event(), []
    log.write_bytes(b"first\nsecond\n")
    going.set()
    reader = threading.Thread(target=lambda: seen.extend(log_output.output(log, 1, going.is_set)))
    reader.start()

    def write(content):
        with log.open("ab") as file:
            file.write(content)

    try:
        assert waiting.until(lambda: seen, 60)
        for n in range(3):
            write(b"%d\n" % n * 50_000)
            assert waiting.until(lambda n=n: b"".join(seen).endswith(b"%d\n" % n * 50_000), 60)
            assert rotation.rotate(str(log), 1000)
        write(b"end\n")
    finally:
        going.clear()
        reader.join()
    assert b"".join(seen) == b"second\n" + b"0\n" * 50_000 + b"1\n" * 50_000 + b"2\n" * 50_000 + b"end\n"
