"""Every figure: drawn by name from stored frames, with its facts in words, in one style."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from tailrace import analysis
from tailrace.errors import RecordsError
from tailrace.report import catalogue, evidence

SPECS = [
    ("switch", "03_blue_green_switch", {"limit_ms": 600}),
    ("windows", "03_blue_green_switch", {"limits_ms": {"p95": 300}}),
    ("spectrum", "03_blue_green_switch", {"limits_ms": {"p99": 600}}),
    ("spectrum", "03_blue_green_switch", {"by": "colour"}),
    ("probes", "02_verify_health", {"marks": "probe_marks"}),
    ("clients", "04_load_test", {"records": "arms", "order": ["plain", "both"], "limit_ms": 300}),
    ("ramp", "04_load_test", {"records": "ramp", "by": "phase", "limit_ms": 150}),
    ("ramp", "03_blue_green_switch", {}),
    ("arrivals", "03_blue_green_switch", {"lag_limit_ms": 10}),
    ("ccdf", "04_load_test", {"records": "arms", "limit_ms": 300}),
    ("failures", "03_blue_green_switch", {}),
    ("server", "03_blue_green_switch", {}),
    ("events", "04_load_test", {"records": "arms"}),
    ("heatmap", "03_blue_green_switch", {"limit_ms": 600}),
    ("ratio", "03_blue_green_switch", {"windows": 8}),
    ("spend", "04_load_test", {"records": "arms", "order": ["plain", "both"]}),
    ("streaming", "03_blue_green_switch", {"limits_ms": {"ttft": 100, "tpot": 5, "itl": 9}}),
]


OF_ROWS = {name for name in catalogue.FIGURES if name.startswith("benchmark ")}
"""Drawn from the rows of a benchmark: tests/unit/bench/test_bench_figures.py."""


@pytest.mark.parametrize(("name", "step", "options"), SPECS)
def test_every_figure_is_drawn(run_dir, name, step, options):
    """A figure is redrawn from records and JSON alone, as SVG without an address and with numbers in its text."""
    drawn = catalogue.draw(name, evidence.Loader(run_dir, step), **json.loads(json.dumps(options)))
    svg = drawn.svg("k")
    assert svg.startswith("<svg ")
    assert svg.endswith("</svg>")
    assert "://" not in svg
    assert "xmlns" not in svg
    assert len(re.findall(r"\d", drawn.alt)) > 5
    assert 'role="img"' in svg
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(i.startswith("k-") for i in ids)


@pytest.mark.parametrize("name", sorted(set(catalogue.FIGURES) - {"probes", "history"} - OF_ROWS))
def test_without_records_it_says_so(name):
    """A figure without records is a sentence, never empty axes or an error."""
    frames = {"records": analysis.empty(), "a": analysis.empty(), "b": analysis.empty()}
    drawn = catalogue.draw(name, frames.__getitem__)
    assert re.search(r"no requests were recorded|n/a", drawn.alt)


def test_every_figure_has_a_test():
    """Every figure of the catalogue has a test in this file."""
    assert {name for name, _, _ in SPECS} | {"history"} | OF_ROWS >= set(catalogue.FIGURES)


@pytest.mark.parametrize("name", ["spectrum", "streaming"])
def test_invented_colours_are_bounded_and_counted(run_dir, name):
    """A service that names 120 colours gets twelve lines; the control, with its two, leaves nothing out."""
    step, options = "03_blue_green_switch", {"by": "colour"}
    load = evidence.Loader(run_dir, step)
    records = load("records")
    invented = records.assign(colour=[f"c{n % 120}" for n in range(len(records))])
    drawn = catalogue.draw(name, {"records": invented, "gaps": None}.__getitem__, **options)
    assert "108 others are left out" in drawn.alt
    assert len(drawn.figure.legends[0].get_texts()) == 12
    assert "left out" not in catalogue.draw(name, load, **options).alt


def test_alternative_text_states_the_facts(run_dir):
    """The alternative text of the switch counts requests by colour and failures, and states when it switched."""
    alt = catalogue.draw("switch", evidence.Loader(run_dir, "03_blue_green_switch")).alt
    assert "2,400 requests" in alt
    assert "1,200 by blue, 1,200 by green; failed: 0" in alt
    assert "switched at 6 s" in alt


def test_failures_are_counted_in_words(run_dir):
    """The alternative text counts each recorded failure."""
    records = evidence.frame(run_dir, "03_blue_green_switch", "records")
    records.loc[:4, "outcome"] = "error"
    assert "failed: 5" in catalogue.draw("switch", {"records": records}.__getitem__).alt


def test_probes_say_when(run_dir):
    """The alternative text of the timeline names each probe that failed, when, and its answer."""
    alt = catalogue.draw("probes", evidence.Loader(run_dir, "02_verify_health"), marks="probe_marks").alt
    assert "ready failed at 5–10 s (503 (provider unreachable)), 14–18 s" in alt
    assert "live failed at 14–18 s (no answer in 1.0 s)." in alt


def test_knee(run_dir):
    """The alternative text of the ramp states the highest rate within the limit, or that there is none."""
    load = evidence.Loader(run_dir, "04_load_test")
    alts = [catalogue.draw("ramp", load, records="ramp", by="phase", limit_ms=limit).alt for limit in (150, 1)]
    assert "200 requests/s is the highest rate" in alts[0]
    assert "no measured rate is" in alts[1]


def test_ratio_is_the_comparison(run_dir):
    """The alternative text of the ratio is the verdict of the comparison; without paired windows it is descriptive."""
    alt = catalogue.draw("ratio", evidence.Loader(run_dir, "03_blue_green_switch"), windows=8).alt
    assert alt.startswith("p99 of green over blue in 8 windows: p99 ")
    assert "before/after" in alt


def test_events_count_by_class(run_dir):
    """The alternative text counts failures by class, retries and cache hits."""
    alt = catalogue.draw("events", evidence.Loader(run_dir, "04_load_test"), records="arms").alt
    assert " http_503; " in alt
    assert "retries" in alt
    assert "from a cache" in alt


def test_failures_name_who_used_the_processors(run_dir):
    """The alternative text says how long the edge found a slot unhealthy, and who used most of the processors."""
    alt = catalogue.draw("failures", evidence.Loader(run_dir, "03_blue_green_switch")).alt
    assert "The edge found blue unhealthy for 2 s. The edge found green unhealthy for 0 s." in alt
    assert "most by green-8" in alt
    bare = {"records": evidence.frame(run_dir, "03_blue_green_switch", "records")}
    assert "The machine was not sampled." in catalogue.draw("failures", bare.__getitem__).alt


def test_the_server_tells_its_own_percentiles(run_dir):
    """The buckets of the server's own histogram are told as bounds, beside its gauges."""
    alt = catalogue.draw("server", evidence.Loader(run_dir, "03_blue_green_switch")).alt
    assert "its own time to first token over 2,300 requests: p50 25–50 ms, p95 50–100 ms" in alt
    assert "waiting on blue at most 24" in alt
    assert "key-value cache at most 80 % full" in alt


def test_a_server_that_tells_nothing_is_a_reason(run_dir):
    """A page that could not be read is said in its own words, and not drawn as nothing."""
    load = evidence.Loader(run_dir, "03_blue_green_switch")
    silent = load("server").assign(measure="", why="http://127.0.0.1:1/metrics answered 404")
    frames = {"records": load("records"), "server": silent}
    assert "answered 404" in catalogue.draw("server", frames.__getitem__).alt
    assert "n/a without service.metrics" in catalogue.draw("server", {"records": load("records")}.__getitem__).alt


def test_unknown_price_is_said(run_dir):
    """An unknown price is reported as unknown, not as zero."""
    records = evidence.frame(run_dir, "04_load_test", "arms").assign(cost_microusd=-1)
    assert "n/a USD per 1,000" in catalogue.draw("spend", {"records": records}.__getitem__).alt


def test_marks_that_last(run_dir):
    """A fault that lasts is drawn as a stretch; one outside the drawn time is left out."""
    load = evidence.Loader(run_dir, "03_blue_green_switch")
    marks = load("marks").assign(kind="fault", until_ns=lambda m: m["t_ns"] + 10**9)
    frames = {"records": load("records"), "marks": marks}
    assert "fault" not in catalogue.draw("windows", frames.__getitem__).svg()
    late = {"records": load("records"), "marks": marks.assign(t_ns=marks["t_ns"] + 10**12)}
    assert "locked" not in catalogue.draw("windows", late.__getitem__).svg()


def test_unknown_names(run_dir):
    """The error for an unknown figure, option or frame lists the known ones."""
    load = evidence.Loader(run_dir, "03_blue_green_switch")
    with pytest.raises(ValueError, match=r"figure 'pie' is not in the catalogue; known: .*switch"):
        catalogue.draw("pie", load)
    with pytest.raises(ValueError, match="does not know colour; it takes records, marks"):
        catalogue.draw("switch", load, colour="red")
    with pytest.raises(RecordsError, match=r"none\.parquet does not exist; saved: marks"):
        catalogue.draw("switch", load, marks="none")


def test_history_of_the_runs_beside(run_dir):
    """The frame "runs" is the history of all runs beside this one."""
    drawn = catalogue.draw("history", evidence.Loader(run_dir, "05_latency_report"), baseline=run_dir.name)
    assert drawn.alt.startswith("p99 of 1 runs: from 1")


def test_history():
    """The history names the first and the last run with their p99, and leaves out runs without one."""
    runs = pd.DataFrame(
        {"id": ["a", "b", "c"], "verdict": ["PASS", "FAIL", "PASS"], "n": [500, 500, 5],
         "p99_ms": [100.0, 150.0, None], "p99_lo_ms": [90.0, 140, None], "p99_hi_ms": [110.0, 160, None]}
    )  # fmt: skip
    alt = catalogue.draw("history", {"runs": runs}.__getitem__, limit_ms=120, baseline="a").alt
    assert alt.startswith("p99 of 2 runs: from 100 ms (a) to 150 ms (b)")
    assert "needs 368" in catalogue.draw("history", {"runs": runs[2:]}.__getitem__).alt


def test_the_last_run_that_passed_is_the_baseline():
    """`baseline="passed"` shades the last run before the latest that passed; without one nothing is shaded."""
    figures = {"p99_ms": 80.0, "p99_lo_ms": 70.0, "p99_hi_ms": 90.0, "n": 900}
    verdicts = {"a": "PASS", "b": "PASS", "c": "FAIL", "d": "PASS"}
    runs = pd.DataFrame([{"id": name, "verdict": verdict, **figures} for name, verdict in verdicts.items()])
    draw = {"runs": runs}.__getitem__
    assert "interval of the baseline b is shaded" in catalogue.draw("history", draw, baseline="passed").alt
    assert "shaded" not in catalogue.draw("history", {"runs": runs[2:]}.__getitem__, baseline="passed").alt


def test_a_knee_that_was_searched_for_is_drawn(run_dir):
    """The figure shows the knee that a search found, not one of its own."""
    options = {"records": "ramp", "by": "phase", "limit_ms": 150}
    load = evidence.Loader(run_dir, "04_load_test")
    drawn = [catalogue.draw("ramp", load, **options, knee_rps=k) for k in (123, None)]
    assert "123 requests/s is the highest rate" in drawn[0].alt
    assert "123" not in drawn[1].alt


def test_colours_are_compared_where_both_served(run_dir):
    """The ratio covers only the seconds in which one generation of the routes served both colours."""
    path = run_dir / "records" / "03_blue_green_switch" / "part-0.parquet"
    records = pd.read_parquet(path)
    draw = evidence.Loader(run_dir, "03_blue_green_switch")
    assert "before/after" in catalogue.draw("ratio", draw).alt
    blue = records.index % 2 == 0
    records.assign(generation=7, colour=np.where(blue, "blue", "green")).to_parquet(path)
    drawn = catalogue.draw("ratio", draw)
    assert "paired windows" in drawn.alt
    assert "before/after" not in drawn.alt
