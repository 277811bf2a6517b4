import pytest

from tailrace.errors import ProfileError


def test_the_whole_grid_comes_once_in_each_repeat_in_another_order(plan):
    """A slow minute of the machine does not fall on one target."""
    cells = plan.cells()
    first, second = cells[:8], cells[8:]
    assert {cell.repeat for cell in first} == {1}
    assert sorted(cell[:4] for cell in first) == sorted(cell[:4] for cell in second)
    assert [cell[:4] for cell in first] != [cell[:4] for cell in second]
    assert len({cell.key for cell in cells}) == 16


def test_the_order_is_that_of_the_seed(plan):
    """A benchmark that goes on measures what is left; the control is another seed."""
    assert plan.cells() == plan.model_copy().cells()
    assert plan.cells() != plan.model_copy(update={"seed": 2}).cells()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("targets: {a: {}}", "give concurrency"),
        ("targets: {a: {}}\nconcurrency: [1]\nrate_rps: [1]", "not both"),
        ("targets: {a: {}}\nconcurrency: [1, 1]", "concurrency: found a value twice"),
        ("targets: {}\nconcurrency: [1]", "targets"),
        ("targets: {a: {url: 'ftp://x'}}\nconcurrency: [1]", "targets.a.url"),
        ("targets: {a: {url: 'http://u:p@x'}}\nconcurrency: [1]", "targets.a.url"),
        ("targets: {a: {url: 'http://x/v1', simulator: {}}}\nconcurrency: [1]", "one of them"),
        ("targets: {a: {}}\nconcurrency: [0]", "concurrency.0"),
        ("targets: {a: {}}\nconcurrency: [1]\nspeed: 3", "unknown key; a plan has: name, targets"),
        ("targets: {a: {}}\nconcurrency: [1]\nmeasure: {min_s: 9, max_s: 3}", "min_s 9 is above max_s 3"),
        ("targets: {a: {}}\nconcurrency: [1]\nmeasure: {percentile: p0}", "measure.percentile"),
        ("targets: {a: {}}\nconcurrency: [1]\ngoodput: {share: 0.9}", "goodput"),
        ("targets: {a: {}}\nconcurrency: [1, 2, 3, 4, 5, 6]\ninput_tokens: [1, 2, 3, 4, 5]\nrepeats: 100", "2,000"),
        ("[1]", "found list"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_wrong_plan_is_refused_by_file_and_key(write, text, message):
    """Before anything starts: subject, fact, limit."""
    with pytest.raises(ProfileError, match=r"small\.yaml") as error:
        write(text)
    assert message in str(error.value)
