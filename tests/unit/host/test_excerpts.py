"""Excerpts: bounded in lines and bytes, read from the end, harmless to a terminal."""

import json

import pytest

from tailrace.host import excerpts


@pytest.fixture
def log(tmp_path):
    def write(content: bytes):
        path = tmp_path / "a.log"
        path.write_bytes(content)
        return path

    return write


def test_a_short_log_is_shown_as_it_is(log):
    """Nothing is cut, and no line is invented."""
    assert excerpts.tail(log(b"one\ntwo\n\nthree\n"), 3) == "two\n\nthree"


def test_a_missing_or_empty_log_shows_nothing(log, tmp_path):
    """Neither is an error."""
    assert excerpts.tail(tmp_path / "none.log", 3) == excerpts.tail(log(b""), 3) == ""


@pytest.mark.parametrize("after", [b"", b"\n", b"\nmodel weights are missing\n"])
def test_a_line_of_5_mb_is_cut_and_says_its_size(log, after):
    """Whether it is the last line, or before it; its beginning is what is shown."""
    path = log(b"first\nbegin" + b"L" * 4_999_995 + after)
    lines = excerpts.tail(path, 2).splitlines()
    cut = next(line for line in lines if line.startswith("beginLLL"))
    assert cut.endswith("L … (5,000,000 bytes)")
    assert len(cut) < excerpts.LINE_BYTES + 30
    assert not after.strip() or lines[-1] == "model weights are missing"


def test_many_long_lines_fit_the_limit_and_the_last_is_kept(log):
    """The excerpt drops the oldest lines first."""
    path = log(b"".join(b"%03d" % n + b"x" * 450 + b"\n" for n in range(400)))
    shown = excerpts.tail(path, 100)
    assert len(shown.encode()) <= excerpts.EXCERPT_BYTES
    assert shown.splitlines()[-1].startswith("399")
    assert excerpts.tail(path, 100, 1).startswith("399")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1bcreset", "reset"),
        ("bell\x07 null\x00 back\x08", "bell\\x07 null\\x00 back\\x08"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\x9b31mC1", "\\x9b31mC1"),
        ("\u200fright\ufeff", "\\u200fright\\ufeff"),
        ("tab\tstays, ä and 漢 too", "tab\tstays, ä and 漢 too"),
    ],
)
def test_control_characters_are_made_harmless(log, text, shown):
    """A log cannot move the cursor of whoever reads it."""
    assert excerpts.tail(log(text.encode()), 1) == excerpts.of_text(text, 1) == shown


def test_bytes_that_are_no_text_are_shown(log):
    """A program may write anything."""
    assert excerpts.tail(log(b"\xff\xfe\nend"), 2).splitlines()[-1] == "end"


def test_json_stays_json_with_its_controls_escaped():
    """What a reader parses is the same; a terminal sees none of it."""
    text = json.dumps({"a": "\x9b31m \u202e \u2028 漢"}, ensure_ascii=False, indent=2)
    shown = excerpts.harmless_json(text)
    assert json.loads(shown) == json.loads(text)
    assert not {"\x9b", "\u202e", "\u2028"} & set(shown)
