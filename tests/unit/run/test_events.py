"""Events are complete lines, whichever process writes them, and can be read during a write."""

import multiprocessing

import pytest

from tailrace.run import events


def test_an_event_is_read_as_it_was_written(tmp_path):
    """Name, both clocks and fields come back."""
    events.append(tmp_path, "check", name="ä", ok=None)
    (event,) = events.read(tmp_path)
    assert (event.event, event.fields) == ("check", {"name": "ä", "ok": None})
    assert event.t_ns > 0
    assert event.at.endswith("+00:00")


def test_no_file_is_no_events(tmp_path):
    """A run without events can be read."""
    assert events.read(tmp_path) == []


def test_a_last_line_that_is_cut_is_left_for_later(tmp_path):
    """During a write, a reader gets the complete lines, and the rest later."""
    events.append(tmp_path, "one")
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"event": "two", "t_ns": 1,')
    offset = len(events.complete_lines(tmp_path))
    assert [event.event for event in events.read(tmp_path)] == ["one"]
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write(' "at": ""}\n')
    assert [event.event for event in events.read(tmp_path, offset)] == ["two"]


@pytest.mark.parametrize("line", ["{", "[]", "5", '{"event": "x"}', "\x00"])
def test_a_damaged_line_hides_no_other(tmp_path, line):
    """A line that is not an event is skipped."""
    (tmp_path / "events.jsonl").write_text(f"{line}\n")
    events.append(tmp_path, "after")
    assert [event.event for event in events.read(tmp_path)] == ["after"]


def test_a_field_that_is_not_json_is_refused(tmp_path):
    """A field that JSON cannot hold raises an error in the writer."""
    for value in (object(), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            events.append(tmp_path, "bad", value=value)
    assert events.read(tmp_path) == []


def test_writers_do_not_cut_each_others_lines(tmp_path):
    """The lines of processes that write at the same time stay complete."""
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_write, args=(tmp_path, n)) for n in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    writers = [event.fields["writer"] for event in events.read(tmp_path)]
    assert sorted(writers) == sorted([0, 1, 2] * 200)


def _write(folder, writer):
    for _ in range(200):
        events.append(folder, "x", writer=writer, filler="." * 500)
