"""A sampler reads in the background, in bounded memory, and no failure of a reading reaches anybody."""

import itertools
import threading

from tailrace.host import waiting
from tailrace.host.sampling import Sampler


def test_it_reads_at_once_and_once_more_at_its_end():
    """Two readings frame whatever happens in between, however short it is."""
    with Sampler(itertools.count().__next__, every_s=3600) as sampler:
        assert waiting.until(lambda: sampler.latest == 0, 10)
    assert sampler.samples == [0, 1]


def test_it_keeps_a_bounded_number():
    """Beyond the limit every other sample is dropped, so that the first and the last stay."""
    sampler = Sampler(itertools.count().__next__, every_s=0.0005, limit=8).start()
    assert waiting.until(lambda: (sampler.latest or 0) > 40, 20)
    samples = sampler.stop()
    assert len(samples) <= 10
    assert samples[0] == 0
    assert samples == sorted(samples)


def test_a_failing_reading_is_told_and_ends_nothing():
    """An error is kept as a sentence; the next reading is tried all the same."""
    numbers = iter([0, 1])

    def read() -> int:
        if next(numbers):
            raise OSError("no such page")
        return 7

    sampler = Sampler(read, every_s=0.001).start()
    assert waiting.until(lambda: sampler.failure, 10)
    assert sampler.stop() == [7]
    assert sampler.failure.startswith(("OSError: no such page", "StopIteration"))


def test_a_reading_that_hangs_is_not_waited_for():
    """Whoever stops the sampler goes on, and has what was read before."""
    hang = threading.Event()
    sampler = Sampler(lambda: hang.wait(60), every_s=1).start()
    assert sampler.stop(within_s=0.01) == []
    hang.set()
