"""A build shows a few lines while it runs, replaced as it goes on, and one per image at the end."""

from tailrace.notebook.progress import Progress


class Watched:
    """A progress with a clock that is set by hand, and everything that it has shown."""

    def __init__(self):
        self.now_s, self.shown = 0.0, []
        self.progress = Progress(self.shown.append, lambda: self.now_s)

    def log(self, *lines, every_s=1.0):
        for line in lines:
            self.now_s += every_s
            self.progress(line)


def test_a_long_log_stays_two_lines_and_ends_as_one_per_image():
    """The output does not grow with the log."""
    build = Watched()
    build.log("building service:1", "Step 1/4 : FROM base", *(f"line {n}" for n in range(500)), "Step 2/4 : RUN make")
    assert {len(text.splitlines()) for text in build.shown} == {2}
    assert "2 of 4" in build.shown[-1]
    assert "RUN make" in build.shown[-1]
    build.log("building edge:1", "Step 1/1 : FROM base")
    build.progress.close()
    assert build.shown[-1].splitlines() == ["service:1  2 steps  503 s", "edge:1  1 steps  1 s"]


def test_lines_that_come_fast_are_not_all_shown():
    """At most twice a second, and the last state in any case."""
    build = Watched()
    build.log("building service:1", *(f"Step {n}/100 : RUN true" for n in range(1, 101)), every_s=0.01)
    assert len(build.shown) <= 3
    build.progress.close()
    assert build.shown[-1] == "service:1  100 steps  1 s"


def test_a_release_that_is_there_shows_nothing():
    """Without a line of a log there is no output."""
    build = Watched()
    build.progress.close()
    assert build.shown == []
