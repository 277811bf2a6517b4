"""A synthetic run folder: five steps, a switch under load, a client in four forms, probes during faults."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tailrace.deploy.edge.samples import EdgeRow
from tailrace.host.machine import MACHINE, MachineRow
from tailrace.load.beside import ServerRow
from tailrace.records import DEFAULTS, Record
from tailrace.report import page

T0 = 5_000_000_000_000
STEPS = {
    "01_build_image": "Build the image",
    "02_verify_health": "Verify health by breaking it",
    "03_blue_green_switch": "Switch blue to green under load",
    "04_load_test": "Load-test the client in its four forms",
    "05_latency_report": "Report the latency",
}
STATES = [(0.2, "locked"), (0.4, "green started"), (3.1, "ready"), (3.6, "warm"), (3.9, "smoked"), (6.0, "switched"),
          (6.1, "baking"), (10.2, "drained"), (10.6, "retired"), (10.7, "done")]  # fmt: skip


def frame(n: int, rate_rps: float, seed: int, start_ns: int = T0, **columns: Any) -> pd.DataFrame:
    """Return `n` records at a constant rate with lognormal latencies of about 55 ms."""
    rng = np.random.default_rng(seed)
    service = rng.lognormal(np.log(52_000), 0.35, n).astype("int64") + 2_000
    values: dict[str, Any] = {
        "run_id": "20260101-120000-ab12", "shard": 0, "seq": np.arange(n), "step": "s", "phase": "switch",
        "colour": "blue", "release": "9f3c21aa07b1", "generation": 1, "model": "gpt-4o-mini",
        "stream": rng.random(n) < 0.3,
        "outcome": "miss", "error_type": "", "status": 200, "attempts": 1,
        "intended_ns": start_ns + (np.arange(n) * 1e9 / rate_rps).astype("int64"),
        "send_lag_us": rng.lognormal(np.log(120), 0.7, n).astype("int64"), "service_us": service,
        "ttfc_us": (service * 0.6).astype("int64"), "backoff_us": 0, "chunks": 0, "in_tok": rng.integers(8, 60, n),
        "out_tok": rng.integers(10, 120, n), "cached_tok": 0, "cost_microusd": rng.integers(8, 80, n),
        **DEFAULTS,
    }  # fmt: skip
    values["chunks"] = np.where(values["stream"], values["out_tok"], 0)
    records = pd.DataFrame({name: ({**values, **columns})[name] for name in Record._fields})
    return records.astype({"run_id": "str", "colour": "str", "outcome": "str", "error_type": "str", "phase": "str"})


def switch_records(n: int = 2_400, rate_rps: float = 200.0) -> pd.DataFrame:
    records = frame(n, rate_rps, 3, step="03_blue_green_switch")
    seconds = (records["intended_ns"] - T0) / 1e9
    return records.assign(colour=np.where(seconds < 6.0, "blue", "green"), generation=np.where(seconds < 6.0, 7, 8))


def client_records(n: int = 900) -> pd.DataFrame:
    """Return the client in four forms (plain, retrying, cached, both) against a provider that fails at times."""
    arms = []
    for i, phase in enumerate(("plain", "retrying", "cached", "both")):
        rng = np.random.default_rng(10 + i)
        records = frame(n, 100.0, 20 + i, T0 + i * 12 * 10**9, step="04_load_test", phase=phase)
        bad, hit = rng.random(n) < 0.035, rng.random(n) < (0.45 if phase in ("cached", "both") else 0)
        if phase in ("retrying", "both"):
            records.loc[bad, ["attempts", "service_us"]] = [2, 260_000]
        else:
            records.loc[bad, ["outcome", "error_type", "status"]] = ["error", "http_503", 503]
        records.loc[hit, "outcome"] = "hit"
        records.loc[hit, ["attempts", "cost_microusd", "error_type", "status"]] = [0, 0, "", 200]
        records.loc[hit, "service_us"] = rng.integers(300, 900, int(hit.sum()))
        arms.append(records)
    return pd.concat(arms, ignore_index=True)


def ramp_records() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    parts, start = [], T0 + 60 * 10**9
    for rate in (50, 100, 150, 200, 250, 300, 350):
        load = rate / 330
        records = frame(rate * 5, rate, rate, start, step="04_load_test", phase=f"ramp {rate}")
        queue = (rng.exponential(1 / max(1 - load, 0.02), len(records)) * 9_000).astype("int64")
        parts.append(records.assign(service_us=records["service_us"] + queue))
        start += 6 * 10**9
    return pd.concat(parts, ignore_index=True)


def marks() -> pd.DataFrame:
    rows = [(T0 + int(t * 1e9), label, "state") for t, label in STATES]
    return pd.DataFrame(rows, columns=["t_ns", "label", "kind"])


def samples() -> dict[str, pd.DataFrame]:
    """Return what was sampled beside the switch: green's start took the processors, and blue was unhealthy for 2 s."""
    machine, edge, server = [], [], []
    for i in range(1, 25):
        t_ns, busy = T0 + i * 500_000_000, 1.9 if 1 < i < 7 else 0.6
        machine += [MachineRow(t_ns, 0.5, name, cores, 2, 900.0, 8_000.0) for name, cores in
                    ((MACHINE, busy), ("green-8", busy - 0.3), ("this run", 0.2))]  # fmt: skip
        edge += [EdgeRow(t_ns, colour, i, 1, 0, 0, 0, 0, 0, 0, 0, 1, int(colour == "green" or not 2 <= i < 6))
                 for colour in ("blue", "green")]  # fmt: skip
        server += [ServerRow(t_ns, "blue", "running", None, 4.0 + i % 3, ""),
                   ServerRow(t_ns, "blue", "waiting", None, float(i), ""),
                   ServerRow(t_ns, "blue", "cache_use", None, i / 30, "")]  # fmt: skip
        server += [ServerRow(t_ns, "blue", "ttft", bound, count * i, "") for bound, count in
                   ((25.0, 10.0), (50.0, 60.0), (100.0, 98.0), (math.inf, 100.0))]  # fmt: skip
    return {"machine": pd.DataFrame(machine), "edge": pd.DataFrame(edge), "server": pd.DataFrame(server)}


def probes() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = []
    for i in range(240):
        t = i * 0.1
        outage, hung = 5 <= t < 10, 14 <= t < 18
        answers = {"live": not hung, "ready": not (outage or hung), "edge": not hung, "cached": not hung}
        for name, ok in answers.items():
            status, fact = (
                (200, "200") if ok else (0, "no answer in 1.0 s") if hung else (503, "503 (provider unreachable)")
            )
            rows.append((T0 + int(t * 1e9), name, ok, status, fact))
    faults = [(5, "provider outage"), (10, "provider back"), (14, "process hung"), (18, "process resumed")]
    fault_rows = [(T0 + t * 10**9, label, "fault") for t, label in faults]
    return (
        pd.DataFrame(rows, columns=["t_ns", "probe", "ok", "status", "fact"]),
        pd.DataFrame(fault_rows, columns=["t_ns", "label", "kind"]),
    )


def notebook(title: str) -> dict[str, Any]:
    cells = [
        ("markdown", f"# {title}\n\nThis proves that **nothing is lost** while the traffic moves. "
                     "See [the page](http://example.test/x).\n\n"
                     "It needs a free port, and leaves `records/` behind:\n\n- every request has a row\n"
                     "- failures included"),
        ("code", "rate_rps: float = 200.0  # offered load, requests per second"),
        ("markdown", "Begin."),
        ("code", "from tailrace import step\n\nrun = step.begin(__name__)  # <script>alert(1)</script>\nurl = 'http://127.0.0.1:8080/v1'"),
        ("code", "for colour in ('blue', 'green'):\n    run.check(f'{colour} is ready', True, f'200 after {0.4} s')"),
    ]  # fmt: skip
    written = [{"cell_type": kind, "source": text, "metadata": {}, "id": f"c{i}",
             **({"outputs": [{"output_type": "stream", "name": "stdout", "text": "NEVER SHOWN"}], "execution_count": 1}
                if kind == "code" else {})} for i, (kind, text) in enumerate(cells)]  # fmt: skip
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": {"name": "python3"}}, "cells": written}


def check(name: str, ok: bool | None, fact: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "fact": fact}


def results() -> dict[str, dict[str, Any]]:
    slo = {"p50": 120, "p95": 300, "p99": 600}
    return {
        "01_build_image": {
            "checks": [
                check("content-addressed", True, "release 9f3c21aa07b1, built in 4.1 s, 61.2 MB"),
                check("no secret in the release", True, "0 findings in 1,204 files"),
                check("runs without root", True, "uid 10001"),
            ],
            "facts": {"release": "9f3c21aa07b1", "size_mb": 61.2, "build_s": 4.1},
        },
        "02_verify_health": {
            "checks": [
                check("ready turns red on an outage", True, "503 after 1.1 s (provider unreachable)"),
                check("live stays green on an outage", True, "50 of 50 probes answered 200"),
                check("live turns red when hung", True, "no answer in 1.0 s after 1.2 s"),
            ],
            "figures": [{"name": "probes", "caption": "Proved by breaking it: an outage, then a hung process.",
                         "options": {"marks": "probe_marks"}}],
        },
        "03_blue_green_switch": {
            "checks": [
                check("zero failed", True, "0 of 2,400 by the client, 0 of 2,400 by the edge"),
                check("zero unexplained", True, "client and edge agree on 2,400 requests"),
                check("a green that is never ready gets no traffic", True, "NotReady after 2.0 s; 0 requests"),
                check("a slow green is rolled back", True, "p95 ratio 7.4 > 3.0 after 1.0 s; blue again 14 ms later"),
            ],
            "switch": {"requests": 2400, "failed": 0, "unexplained": 0},
            "figures": [
                {"name": "switch", "caption": "Every request, by its colour.", "options": {"limit_ms": 600}},
                {"name": "windows", "caption": "Percentiles per second.", "options": {"limits_ms": {"p95": 300}}},
            ],
            "tables": [{"name": "percentiles", "caption": "By colour.", "options": {"by": ["colour"]}}],
        },
        "04_load_test": {
            "checks": [
                check("retrying loses none", True, "900 of 900 succeeded; plain lost 31"),
                check("cached answers are right", True, "0 wrong of 405 hits"),
            ],
            "figures": [
                {"name": "clients", "caption": "Four forms of one client.",
                 "options": {"records": "arms", "order": ["plain", "retrying", "cached", "both"]}},
                {"name": "ramp", "options": {"records": "ramp", "by": "phase", "limit_ms": 150}},
            ],
            "tables": [{"name": "clients", "options": {"records": "arms", "order": ["plain", "both"]}}],
        },
        "05_latency_report": {
            "checks": [check("p99 within 600 ms", True, "p99 131 ms [125, 139] is within 600 ms; n = 2,400")],
            "checklist": [
                check("container hardened", True, "not root, read-only, no secret in 1,204 files"),
                check("health checks proved", True, "2 faults seen and recovered from"),
                check("rollback proved", True, "slow green rolled back in 14 ms"),
                check("retries bounded", None, "no evidence in this run"),
            ],
            "figures": [{"name": "spectrum", "caption": "What the tail looks like.",
                         "options": {"records": "03_blue_green_switch/records", "limits_ms": slo}}],
            "tables": [
                {"name": "judgements",
                 "options": {"records": "03_blue_green_switch/records", "slo": slo, "error_rate": 0.001}},
                {"name": "percentiles", "options": {"records": "all/records", "by": ["step", "phase", "outcome"]}},
            ],
        },
    }  # fmt: skip


def write_run(folder: Path) -> Path:
    """Write a complete run into `folder` and return it."""
    for name in ("results", "notebooks"):
        (folder / name).mkdir(parents=True)
    steps = []
    for name, title in STEPS.items():
        result = {
            "step": name,
            "title": title,
            "verdict": "PASS",
            "checks": [],
            "facts": {},
            "figures": [],
            "tables": [],
        }
        (folder / "results" / f"{name}.json").write_text(json.dumps(result | results()[name]))
        (folder / "notebooks" / f"{name}.ipynb").write_text(json.dumps(notebook(title)))
        steps.append({"name": name, "verdict": "PASS", "duration_s": 12.3})
    store(folder, "records/03_blue_green_switch/part-0.parquet", switch_records())
    store(
        folder, "records/04_load_test/part-0.parquet", pd.concat([client_records(), ramp_records()], ignore_index=True)
    )
    store(folder, "data/03_blue_green_switch/marks.parquet", marks())
    store(folder, "data/04_load_test/arms.parquet", client_records())
    store(folder, "data/04_load_test/ramp.parquet", ramp_records())
    for name, sampled in samples().items():
        store(folder, f"records/03_blue_green_switch/{name}-ab12.parquet", sampled)
    rows, faults = probes()
    store(folder, "data/02_verify_health/probes.parquet", rows)
    store(folder, "data/02_verify_health/probe_marks.parquet", faults)
    run = {
        "id": folder.name, "profile": "local", "engine": "process", "started_at": "2026-01-01T12:00:00+00:00",
        "finished_at": "2026-01-01T12:01:42+00:00", "duration_s": 102.4, "verdict": "PASS", "exit_code": 0,
        "steps": steps, "environment": {"python": "3.11.7", "platform": "Linux 6.1 x86_64", "cores": 2,
                                        "packages": {"openai": "3.54.0", "pandas": "3.1.1"}},
        "clock": {"wall_ns": 1_767_268_800 * 10**9, "perf_ns": T0},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def store(folder: Path, path: str, rows: pd.DataFrame) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / path)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a complete run, for copies of it."""
    return write_run(tmp_path_factory.mktemp("written") / "20260101-120000-ab12")


@pytest.fixture
def new_run(written: Path) -> Callable[[Path], Path]:
    """Return a function that puts a complete run into a folder."""

    def new(folder: Path) -> Path:
        shutil.copytree(written, folder)
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(run | {"id": folder.name}))
        return folder

    return new


@pytest.fixture
def run_dir(tmp_path: Path, new_run: Callable[[Path], Path]) -> Path:
    return new_run(tmp_path / "20260101-120000-ab12")


@pytest.fixture(scope="session")
def whole(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a complete run, for tests that only read it."""
    folder = tmp_path_factory.mktemp("runs") / written.name
    shutil.copytree(written, folder)
    return page.write(folder)


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., pd.DataFrame]:
    return frame
