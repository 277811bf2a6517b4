"""The visual style of all figures."""

import matplotlib as mpl
import pytest

from tailrace.report import catalogue, evidence, style


def test_style_stays_inside(run_dir):
    """Drawing leaves matplotlib's own settings as they are."""
    before = dict(mpl.rcParams)
    catalogue.draw("switch", evidence.Loader(run_dir, "03_blue_green_switch")).svg()
    assert dict(mpl.rcParams) == before


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", sorted(set(style.NAMES) - {style.GRID, style.BAND}))
def test_contrast(colour):
    """Every colour of text or line has a contrast of at least 4.5:1 on the ground of its scheme."""
    for ink, ground in ((colour, "#ffffff"), (style.DARK[colour], "#11151a")):
        high, low = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_blue_and_green_are_the_deployments():
    """No series, percentile or failure is drawn in blue or green."""
    others = {*style.SERIES, *style.PERCENTILE.values(), style.FAILURE, style.INK, style.MUTED}
    assert not others & {style.BLUE, style.GREEN}
