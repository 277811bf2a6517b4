"""The report in headless Chromium: it opens without a network, in both colour schemes."""

import importlib.util
import subprocess
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from tailrace.report import page

pytestmark = pytest.mark.browser

MADE = Path(__file__).parent.parent / "unit" / "report" / "conftest.py"
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-sync", "--disable-component-update", "--hide-scrollbars"]  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("made_up_run", MADE)
    synthetic = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(synthetic)
    return page.write(synthetic.write_run(tmp_path_factory.mktemp("runs") / "20260101-120000-ab12"))


def run(browser, tmp_path, *arguments):
    command = [browser, *QUIET, f"--user-data-dir={tmp_path / 'browser'}", *arguments]
    return subprocess.run(command, capture_output=True, timeout=90, check=True)


def screenshot(browser, report, tmp_path, width, *scheme):
    target = tmp_path / f"{width}-{len(scheme)}.png"
    run(browser, tmp_path, *scheme, f"--window-size={width},2600", f"--screenshot={target}", report.as_uri())
    return image.imread(target)[..., :3]


def test_light_and_dark(browser, report, tmp_path):
    """The page is dark on light or light on dark, as the reader's system prefers, and never empty."""
    light = screenshot(browser, report, tmp_path, 1_300)
    dark = screenshot(browser, report, tmp_path, 1_300, "--blink-settings=preferredColorScheme=0")
    assert np.median(light) > 0.95
    assert np.median(dark) < 0.15
    assert light.std() > 0.08
    assert dark.std() > 0.08


def test_nothing_sticks_out(browser, report, tmp_path):
    """At the width of a phone, the page does not scroll sideways."""
    probe = report.with_name("probe.html")
    script = "<script>document.title = 'width ' + document.documentElement.scrollWidth + ' of ' + innerWidth</script>"
    probe.write_text(report.read_text().replace("</body>", script + "</body>"))
    dom = run(browser, tmp_path, "--window-size=500,900", "--dump-dom", probe.as_uri()).stdout.decode()
    words = dom[dom.index("<title>") + 7 : dom.index("</title>")].split()
    assert words[0] == "width"
    assert int(words[1]) <= int(words[3])


def test_no_request_leaves(browser, report, tmp_path):
    """The browser loads no resource but the page."""
    probe = report.with_name("resources.html")
    script = "<script>onload = () => document.title = 'n=' + performance.getEntriesByType('resource').length</script>"
    probe.write_text(report.read_text().replace("</body>", script + "</body>"))
    dom = run(browser, tmp_path, "--virtual-time-budget=3000", "--dump-dom", probe.as_uri()).stdout.decode()
    assert "<title>n=0</title>" in dom
