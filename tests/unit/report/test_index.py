"""The page of all runs."""

import json
import re

from tailrace.report import index, page


def test_page_of_the_runs(tmp_path, new_run):
    """All runs are listed, newest first, with verdict, p99 and a link to those that have a report."""
    for i, verdict in enumerate(("PASS", "FAIL")):
        folder = new_run(tmp_path / f"2026010{i + 1}-120000-local-ab12")
        run = json.loads((folder / "run.json").read_text())
        run |= {"verdict": verdict, "started_at": f"2026-01-0{i + 1}T12:00:00"}
        (folder / "run.json").write_text(json.dumps(run))
    page.write(folder)
    (tmp_path / "latest").symlink_to(folder.name)
    text = index.write(tmp_path).read_text()
    assert "2 runs, newest first" in text
    assert text.index("20260102-120000") < text.index("<td>20260101-120000")
    assert re.findall(r'href="([^"#]*)"', text) == ["20260102-120000-local-ab12/report.html"]
    assert "://" not in text


def test_no_runs(tmp_path):
    """A folder without runs has a page that says so."""
    assert "There are no runs yet." in index.write(tmp_path).read_text()
