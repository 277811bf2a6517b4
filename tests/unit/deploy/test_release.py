"""The identity of a release: its build and its configuration."""

from hypothesis import given
from hypothesis import strategies as st

from tailrace.deploy import Release

SETTINGS = st.dictionaries(st.text("ABC_", min_size=1), st.text())


def test_another_setting_is_another_release():
    """Another value or another command is another release; the same value is not."""
    first = Release("command", "0" * 64, ("serve",), {"A": "1"})
    assert first.configured(A="2").id != first.id
    assert first.configured(["serve", "-v"]).id != first.id
    assert first.configured(A="1").id == first.id
    assert first.configured(B="2").environment == {"A": "1", "B": "2"}


def test_facts_are_not_part_of_the_identity():
    """Two builds that took different times are equal."""
    assert Release("command", "0", ("a",), facts={"seconds": 1}) == Release(
        "command", "0", ("a",), facts={"seconds": 2}
    )


@given(SETTINGS)
def test_the_order_of_settings_does_not_matter(settings):
    """Equal settings in another order are the same release."""
    backwards = dict(reversed(settings.items()))
    assert Release("command", "0", ("a",), settings).id == Release("command", "0", ("a",), backwards).id


@given(SETTINGS)
def test_a_release_comes_back_from_its_document(settings):
    """`read` returns the release that `document` wrote."""
    release = Release("command", "0", ("a", "{port}"), settings, True, facts={"seconds": 1})
    assert Release.read(release.document()) == release
