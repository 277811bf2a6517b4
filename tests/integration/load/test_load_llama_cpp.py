"""A real model on a real inference server: what the load generator reads against what the server logs."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailrace.load import Traffic, Workload, arrivals, run
from tailrace.load.lengths import fixed

pytestmark = [pytest.mark.servers, pytest.mark.alone]

RATE, SPAN_S, TOKENS = 8, 10, 48
TIMING = re.compile(r"task (\d+) \|\s+(prompt eval|eval) time =\s+([\d.]+) ms /\s+(\d+) tokens")


class Llama:
    """A running llama-server."""

    def __init__(self, servers: Path, log: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.origin, self._log = f"http://127.0.0.1:{port}", log
        command = [servers / "llama.cpp/bin/llama-server", "-m", servers / "tiny.gguf", "--alias", "tiny", "-t", "1",
                   "-np", "8", "--metrics", "--no-webui", "--offline", "--jinja", "--port", str(port)]  # fmt: skip
        with log.open("w") as file:
            self.process = subprocess.Popen(list(map(str, command)), stdout=file, stderr=subprocess.STDOUT)

    def await_ready(self) -> None:
        deadline = time.monotonic() + 120
        while not self._healthy():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def timings(self) -> tuple[np.ndarray, np.ndarray]:
        """Return by the log, in the order of arrival, the ms of each prompt, and those per token after the first."""
        found: dict[int, dict[str, tuple[float, int]]] = {}
        for task, kind, ms, tokens in TIMING.findall(self._log.read_text()):
            found.setdefault(int(task), {})[kind] = (float(ms), int(tokens))
        rows = [found[task] for task in sorted(found)]
        prompts = np.array([row["prompt eval"][0] for row in rows])
        return prompts, np.array([ms / (tokens - 1) for ms, tokens in (row["eval"] for row in rows)])

    def counts(self) -> dict[str, float]:
        """Return the server's own counters."""
        with urlopen(f"{self.origin}/metrics", timeout=10) as answer:
            lines = [line.split() for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name.removeprefix("llamacpp:"): float(value) for name, value in lines}

    def _healthy(self) -> bool:
        try:
            with urlopen(f"{self.origin}/health", timeout=5) as answer:
                return answer.status == 200
        except (URLError, OSError):
            return False


@pytest.fixture
def llama(servers: Path, tmp_path: Path) -> Iterator[Llama]:
    server = Llama(servers, tmp_path / "llama.log")
    try:
        server.await_ready()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(30)


def test_times_and_counts_of_tokens_are_those_of_the_servers_log(llama, tmp_path):
    """TPOT is that of the log within 2 %, TTFT that of the log and a little more, and the counts are equal."""
    workload = Workload(
        model="tiny", stream_share=1.0, max_tokens=fixed(TOKENS), extra={"ignore_eos": True, "cache_prompt": False}
    )
    run(Traffic(arrivals.constant(RATE, SPAN_S), workload), f"{llama.origin}/v1", tmp_path / "load")
    table = pa.concat_tables(pq.read_table(part) for part in sorted((tmp_path / "load").glob("part-*"))).sort_by("seq")
    prompt_ms, token_ms = llama.timings()
    assert table.num_rows == len(prompt_ms) == RATE * SPAN_S
    assert set(table["out_tok"].to_pylist()) == {TOKENS}
    counts = llama.counts()
    assert counts["tokens_predicted_total"] == RATE * SPAN_S * TOKENS
    assert counts["prompt_tokens_total"] == sum(table["in_tok"].to_pylist())
    ttft_ms = table["ttfc_us"].to_numpy() / 1e3
    tpot_ms = (table["last_token_us"].to_numpy() - table["ttfc_us"].to_numpy()) / 1e3 / (TOKENS - 1)
    limit_ms = 0.03 + 0.02 * np.median(token_ms)
    assert abs(np.median(tpot_ms - token_ms)) < limit_ms
    whole_ms = table["service_us"].to_numpy() / 1e3
    assert abs(np.median(whole_ms / TOKENS - token_ms)) > limit_ms  # the control: the answer's time by its tokens
    assert np.min(ttft_ms - prompt_ms) > -0.1  # the log has hundredths of a millisecond
    assert np.median(ttft_ms - prompt_ms) < 100  # what the server does before the prompt and after its first token
