"""`tailrace load --server-metrics`: what the server says of itself stands under the client's figures, or why not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pages import QuietHandler, serving

COMMAND = [sys.executable, "-m", "tailrace.cli", "load"]
QUICK = ("--rate", "40", "--duration", "2", "--no-floor", "--no-rehearse")
COUNTS = {"0.05": 60, "0.1": 95, "+Inf": 100}
"""Values that each reading adds to the histogram, by bucket."""


class Pages(QuietHandler):
    """A server's metrics page, and what may be there instead of one."""

    readings = 0
    authorization: list[str] = []  # noqa: RUF012

    def do_GET(self):
        if self.path == "/slow":
            self.server.hang.wait(60)
        Pages.readings += 1
        Pages.authorization.append(self.headers.get("authorization", ""))
        text = "vllm:num_requests_running 3\nvllm:num_requests_waiting 7\n" + "".join(
            f'vllm:time_to_first_token_seconds_bucket{{le="{bound}"}} {n * Pages.readings}\n'
            for bound, n in COUNTS.items()
        )
        body = {"/html": b"<html></html>", "/huge": b"x 1\n" * 2_000_000}.get(self.path, text.encode())
        self.send_response(404 if self.path == "/missing" else 200)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def pages() -> Iterator[str]:
    with serving(Pages) as address:
        yield address


def load(url: str, page: str, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, url, *QUICK, "--server-metrics", page, "--out", str(out), *options]
    environment = {"PATH": "/usr/bin:/bin", "KEY": "sk-of-the-target"}
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=environment)


def test_the_server_stands_under_the_client(target, pages, tmp_path):
    """Gauges and the percentiles of the server's own histogram are printed, written, and kept as evidence."""
    done = load(target.url, f"{pages}/metrics", tmp_path / "out")
    assert "server    running 3, at most 3, waiting 7, at most 7; ttft p50 0–50 ms, p95 50–100 ms" in done.stdout
    server = json.loads((tmp_path / "out" / "summary.json").read_text())["server"]
    assert server["ttft_ms"]["n"] % 100 == 0
    (kept,) = (tmp_path / "out").glob("server-*.parquet")
    assert set(pd.read_parquet(kept)["measure"]) == {"running", "waiting", "ttft"}


@pytest.mark.parametrize(
    ("path", "why"),
    [("/missing", "answered 404"), ("/html", "not a Prometheus page"), ("/huge", "bytes"), ("/slow", "timed out")],
)
def test_a_page_that_says_nothing_costs_the_load_nothing(target, pages, tmp_path, path, why):
    """Every request is sent and recorded all the same, and the reason is in the summary."""
    done = load(target.url, pages + path, tmp_path / "out")
    assert "server    tells nothing: " in done.stdout
    assert why in done.stdout
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["recorded"], summary["errors"]) == (80, 0)


def test_without_the_option_nothing_is_read(target, pages, tmp_path):
    """The negative control: no page, no line and no file of a server; the machine is sampled in any case."""
    Pages.readings = 0
    command = [*COMMAND, target.url, *QUICK, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert (Pages.readings, "server    " in done.stdout) == (0, False)
    assert [path.name.partition("-")[0] for path in (tmp_path / "out").glob("[ms]*-*.parquet")] == ["machine"]


def test_a_key_goes_to_the_target_and_to_no_other_host(target, pages, tmp_path):
    """The page of another host gets no key; one of the target's own host gets it."""
    Pages.authorization.clear()
    load(target.url, f"{pages}/metrics", tmp_path / "out", "--api-key-env", "KEY")
    assert set(Pages.authorization) == {""}
    load(f"{pages}/v1", f"{pages}/metrics", tmp_path / "own", "--api-key-env", "KEY")
    assert set(Pages.authorization) == {"", "Bearer sk-of-the-target"}


def test_a_load_that_failed_says_why(target, tmp_path):
    """The classes of the failures, when they came and what is known of their cause are one line of the summary."""
    command = [*COMMAND, target.origin + "/status/500", *QUICK, "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("why: ")]
    assert line.startswith("why: 80 × 500, within ")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["why"]["what"] == "80 × 500"


def test_what_is_no_url_is_refused(tmp_path):
    """A page without a scheme is a usage error, and nothing is sent."""
    done = load("http://127.0.0.1:9/v1", "/metrics", tmp_path / "out")
    assert done.returncode == 2
    assert "expected an http(s) URL" in done.stderr
