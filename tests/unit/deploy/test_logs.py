"""Which log is meant, and its lines."""

from types import SimpleNamespace

import pytest

from tailrace.deploy import logs
from tailrace.deploy.engines.process import old_logs
from tailrace.deploy.logs import Wanted
from tailrace.errors import DeployError

KEPT = ["blue-10", "blue-2", "edge", "green-3", "green-9", "provider"]


def named(wanted, serving="blue-10", kept=KEPT, lacks=None):
    engine = SimpleNamespace(logs=lambda deployment: kept, lacks=lacks or {})
    instance = SimpleNamespace(name=serving) if serving else None
    return logs.name(SimpleNamespace(engine=engine, serving=instance, profile=SimpleNamespace(name="mine")), wanted)


@pytest.mark.parametrize(
    ("wanted", "serving", "name"),
    [
        (Wanted(), "blue-10", "blue-10"),
        (Wanted(), "green-9", "green-9"),
        (Wanted(), "", "blue-10"),
        (Wanted(previous=True), "blue-10", "green-9"),
        (Wanted(colour="blue", previous=True), "blue-10", "blue-2"),
        (Wanted(colour="green"), "blue-10", "green-9"),
        (Wanted(part="edge"), "blue-10", "edge"),
        (Wanted(part="provider"), "", "provider"),
    ],
)
def test_the_log_that_is_meant(wanted, serving, name):
    """By number, not by letter: 10 comes after 9."""
    assert named(wanted, serving) == name


@pytest.mark.parametrize(
    ("wanted", "kept", "why"),
    [
        (Wanted(), [], "no log of an instance; there are logs of: nothing yet"),
        (Wanted(part="provider"), ["edge"], "no log of the provider; there are logs of: edge"),
        (Wanted(previous=True), ["blue-10"], "no log of an instance before blue-10"),
    ],
)
def test_a_log_that_is_not_there_is_refused_with_those_that_are(wanted, kept, why):
    """And with the engine's reason, if it has one."""
    with pytest.raises(DeployError, match=why):
        named(wanted, "", kept)
    with pytest.raises(DeployError, match="Docker removes"):
        named(wanted, "", kept, {"earlier logs": "Docker removes it"})


def test_lines_are_put_together_from_pieces_cut_and_made_harmless():
    """However the pieces fall; a last line without an end is one, too."""
    huge = b"L" * 5_000_000
    pieces = [b"on", b"e\ntw", b"o\r\n", huge[:3_000_000], huge[3_000_000:], b"\n\x1b[31mred\x07\n\n", b"end"]
    shown = list(logs.lines(pieces))
    assert [shown[0], shown[1], *shown[3:]] == ["one", "two", "red\\x07", "", "end"]
    assert shown[2].endswith("L … (5,000,000 bytes)")
    assert len(shown[2]) < logs.LINE_BYTES + 40


def test_the_logs_of_stopped_instances_are_few(tmp_path):
    """The oldest go, with their older parts; those of running ones, of the edge and of others stay."""
    for number in range(1, 9):
        (tmp_path / f"blue-{number}.log").touch()
    for name in ("blue-1.json", "blue-2.log.1", "edge.log", "bench-x.log"):
        (tmp_path / name).touch()
    assert old_logs.prune(tmp_path, kept=3) == ["blue-2", "blue-3", "blue-4", "blue-5"]
    left = {path.name for path in tmp_path.glob("*.log*")}
    assert left == {"blue-1.log", "blue-6.log", "blue-7.log", "blue-8.log", "edge.log", "bench-x.log"}
