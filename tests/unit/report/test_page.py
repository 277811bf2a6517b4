"""The page is one file, however complete the run is."""

import json
import re
import shutil

import pytest

from tailrace.report import page


def test_one_file_without_addresses(whole):
    """The page is under 3 MB, and no address, script or link to another file is in it."""
    text = whole.read_text()
    assert whole.name == "report.html"
    assert whole.stat().st_size < 3_000_000
    assert "://" not in text
    assert not re.search(r"<(script|link|iframe|img)\b|@import|src=", text)
    assert all(target.startswith("#") for target in re.findall(r'<a[^>]*href="([^"]*)"', text))
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_what_comes_first(whole):
    """The verdict comes first, then its sentence, the figure of the switch, the checks, readiness, and the steps."""
    text = whole.read_text()
    order = ["PASS</span>", "2,400 requests through a blue‑green switch: 0 failed, 0 unexplained.", "<svg ",
             'id="checks"', 'id="readiness"', 'id="01_build_image"', 'id="05_latency_report"',
             'id="provenance"']  # fmt: skip
    places = [text.index(mark, text.index("<main>")) for mark in order]
    assert places == sorted(places)
    assert "13 of 13 checks passed" in text


def test_the_headline_states_the_judged_percentiles(run_dir):
    """The headline states each judged percentile with its limit, and none that was not judged."""
    path = figureless(run_dir) / "results" / "05_latency_report.json"
    result = json.loads(path.read_text())
    fact = "p99 111 ms [94.2, 162] is within 600 ms"
    result["checks"] = [{"name": "p99 within 600 ms", "ok": True, "fact": f"{fact}; n = 2,144"}]
    path.write_text(json.dumps(result))
    assert f"{fact}." in page.html(run_dir).partition('id="checks"')[0]
    path.write_text(json.dumps(result | {"checks": []}))
    assert "is within" not in page.html(run_dir).partition('id="checks"')[0]


def test_the_headline_states_tokens(run_dir):
    """Of each measure the highest percentile, then goodput, and what deviates from the planned tokens."""
    path = figureless(run_dir) / "results" / "05_latency_report.json"
    facts = {
        "p50 within 9 ms": "p50 1 ms", "p99 within 9 ms": "p99 2 ms", "TTFT p95 within 9 ms": "TTFT p95 3 ms",
        "TTFT p50 within 9 ms": "TTFT p50 4 ms", "95 % of requests within TTFT 9 ms": "297 of 297 were good",
    }  # fmt: skip
    checks = [{"name": name, "ok": True, "fact": f"{fact}; n = 9"} for name, fact in facts.items()]
    deviations = ["input tokens deviate by +25.0% from the plan (limit 2%)"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"checks": checks, "token_deviations": deviations}))
    head = page.html(run_dir).partition('id="checks"')[0]
    assert "p99 2 ms, TTFT p95 3 ms, 297 of 297 were good." in head
    assert "Beware: input tokens deviate by +25.0%" in head
    path.write_text(json.dumps(json.loads(path.read_text()) | {"token_deviations": []}))
    assert "Beware" not in page.html(run_dir)


@pytest.mark.parametrize(
    ("bill", "sentence"),
    [({"cost_usd": 0.011545, "unpriced": 0, "from_cache": 378}, "they cost $0.0115; 378 came from the cache."),
     ({"cost_usd": 0.25, "unpriced": 240, "from_cache": 0}, "they cost $0.25 (240 have no known price); 0 came from"),
     ({"cost_usd": None, "unpriced": 9, "from_cache": 0}, ""), ({}, "")],
)  # fmt: skip
def test_the_headline_states_the_cost_when_it_is_known(run_dir, bill, sentence):
    """The headline states the cost of the requests, and omits it when no price is known."""
    path = figureless(run_dir) / "results" / "03_blue_green_switch.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps(result | {"switch": result["switch"] | bill}))
    opening = page.html(run_dir).partition('id="checks"')[0]
    assert sentence in opening
    assert ("they cost" in opening) is bool(sentence)


def test_sources_but_no_outputs(whole):
    """The page holds the notebooks' sources, highlighted and escaped, but no outputs."""
    text = whole.read_text()
    assert "NEVER SHOWN" not in text
    assert "<details" in text
    assert '<span class="k">for</span>' in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_every_figure_has_words(whole):
    """Each figure has an alternative text, and ids are unique on the page."""
    text = whole.read_text()
    assert text.count("<svg ") == len(re.findall(r'<svg [^>]*aria-label="[^"]{40,}"', text)) == 7
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    references = {name for pair in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text) for name in pair if name}
    assert any(name.startswith("hero-") for name in references)
    assert references <= set(ids)


def test_both_schemes(whole):
    """Light and dark follow the reader's system, in figures as well."""
    text = whole.read_text()
    assert "prefers-color-scheme: dark" in text
    assert "var(--tr-blue" in text


def figureless(run_dir):
    """Remove the figures and tables from a run; they have tests of their own."""
    for path in (run_dir / "results").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"figures": [], "tables": []}))
    return run_dir


def test_text_is_escaped(run_dir):
    """Text from results cannot become markup."""
    path = run_dir / "results" / "01_build_image.json"
    result = json.loads(path.read_text())
    result["checks"] = [{"name": "<img src=x>", "ok": False, "fact": "<svg onload=x>"}]
    result["title"], result["facts"] = "<h1>t", {"<u>": "<u>"}
    path.write_text(json.dumps(result))
    text = page.html(figureless(run_dir))
    for raw in ("<img src=x>", "<svg onload", "<h1>t", "<u>"):
        assert raw not in text


def test_failure_leads(run_dir):
    """A failed check is named in the sentence under the verdict."""
    path = run_dir / "results" / "01_build_image.json"
    result = json.loads(path.read_text())
    result["checks"][0]["ok"] = False
    path.write_text(json.dumps(result))
    assert "12 of 13 checks passed, 1 failed (content-addressed)." in page.html(figureless(run_dir))


def test_half_a_run(run_dir):
    """The page of a run that died in step 03 names what is missing, and says that the run did not finish."""
    run = json.loads((run_dir / "run.json").read_text())
    run |= {"verdict": None, "finished_at": None, "duration_s": None, "exit_code": None}
    run["steps"] = run["steps"][:2]
    (run_dir / "run.json").write_text(json.dumps(run))
    for step in ("04_load_test", "05_latency_report"):
        (run_dir / "results" / f"{step}.json").unlink()
    shutil.rmtree(run_dir / "records")
    text = page.html(run_dir)
    assert "The run has not finished." in text
    assert "This step left no result: it did not finish." in text
    assert "Figure “switch” could not be made: records/ is empty" in text
    assert '<header data-verdict="INCONCLUSIVE">' in text


def test_nothing_at_all(tmp_path):
    """An empty folder has a page, too, and it is not PASS."""
    text = page.html(tmp_path)
    assert "has no run.json" in text
    assert "No step left any evidence." in text
    assert "✓ PASS" not in text


def test_damaged_files(run_dir):
    """The page reports damaged JSON, notebooks and records, and is written all the same."""
    (run_dir / "results" / "01_build_image.json").write_text("{")
    (run_dir / "notebooks" / "02_verify_health.ipynb").write_text("[]")
    (run_dir / "records" / "03_blue_green_switch" / "part-0.parquet").write_bytes(b"PAR1")
    text = page.html(run_dir)
    assert "cannot be read as parquet" in text
    assert "This step left no result" in text


def test_reasons_of_the_runner(run_dir):
    """The page shows the runner's reasons, and the checks of the run as a whole."""
    run = json.loads((run_dir / "run.json").read_text())
    run["steps"][1] |= {"verdict": "FAIL", "reason": "ended after 900 s"}
    run |= {"reason": "interrupted", "checks": [{"name": "nothing is left running", "ok": True, "fact": "0 processes"}]}
    (run_dir / "run.json").write_text(json.dumps(run))
    text = page.html(figureless(run_dir))
    for text_of_run in ("ended after 900 s", "<h1>Interrupted.</h1>", "nothing is left running"):
        assert text_of_run in text


def test_what_papermill_inserts_is_left_out(run_dir):
    """The cell that papermill inserts to point at an error does not become the introduction."""
    path = run_dir / "notebooks" / "01_build_image.ipynb"
    notebook = json.loads(path.read_text())
    inserted = {"cell_type": "markdown", "source": "<span>An Exception</span>", "id": "x",
                "metadata": {"tags": ["papermill-error-cell-tag"]}}  # fmt: skip
    path.write_text(json.dumps(notebook | {"cells": [inserted, *notebook["cells"]]}))
    text = page.html(figureless(run_dir))
    assert "An Exception" not in text
    assert "<strong>nothing is lost</strong>" in text


def test_steps_that_did_not_finish_are_counted(run_dir):
    """The headline of a run that ended early counts the steps that did not finish."""
    (run_dir / "results" / "05_latency_report.json").unlink()
    assert "1 of 5 steps did not finish." in page.html(figureless(run_dir))
