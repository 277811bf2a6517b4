"""How much the service takes on follows from its open files."""

import pytest

from tailrace.errors import SettingsError
from tailrace.service.capacity import MOST, RESERVED, SPARE, derived


@pytest.mark.parametrize("descriptors", [200, 256, 1024, 4096, 20_000, 65_536])
def test_what_is_held_fits_into_the_open_files(descriptors: int) -> None:
    """Callers, the provider, and the targets that take over from it never need more than there are."""
    holds = derived(descriptors)
    assert holds.connections + holds.spare + 2 * holds.in_flight + RESERVED <= descriptors
    assert holds.spare >= SPARE
    assert 1 <= holds.in_flight <= holds.connections
    assert holds.in_flight <= MOST.in_flight


def test_a_usual_limit_lets_a_few_hundred_in() -> None:
    """Where 1,024 is the hard limit, a few hundred requests are in flight."""
    assert derived(1024).in_flight == 232
    assert derived(1024, 300).in_flight == 300


@pytest.mark.parametrize(("descriptors", "asked"), [(90, None), (1024, 310), (1024, 16_000)])
def test_more_than_the_open_files_allow_is_refused(descriptors: int, asked: int | None) -> None:
    """The message says how many are needed, how many there are, and what to do."""
    with pytest.raises(SettingsError, match=rf"TAILRACE_MAX_IN_FLIGHT: .* the limit is {descriptors}; raise it"):
        derived(descriptors, asked)
