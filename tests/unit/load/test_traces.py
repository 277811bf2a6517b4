"""Recorded traffic: the two formats, scaled in time and in rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tailrace.errors import LoadError
from tailrace.load import Trace, Workload, traces

DATA = Path(__file__).parents[4] / "shared" / "data"
AZURE, MOONCAKE = DATA / "AzureLLMInferenceTrace_conv.csv", DATA / "mooncake_synthetic_trace.jsonl"


def recorded(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"the recorded trace {path.name} is not beside the project (shared/data)")
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Ten requests, one a second, in Azure's form."""
    rows = [f"2023-11-16 18:15:{46 + n}.5000000,{100 + n},{n + 1}" for n in range(10)]
    file = tmp_path / "small.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows) + "\n")
    return file


def test_reads_azure():
    """One hour of production: 19,366 arrivals with their lengths."""
    rows = traces.read(recorded(AZURE))
    assert len(rows) == 19_366
    assert rows[0] == traces.Arrival(0.0, 374, 44)
    assert rows[1].at_s == pytest.approx(50.9951690 - 46.6805900)
    assert 3400 < rows[-1].at_s < 3700


def test_reads_mooncake():
    """Arrivals in milliseconds, with the ids of their prompts' blocks."""
    rows = traces.read(recorded(MOONCAKE))
    assert len(rows) == 3_993
    assert (rows[0].in_tok, rows[0].out_tok, rows[0].blocks[:3]) == (40_160, 6, (0, 1, 2))


def test_equal_prefixes_of_blocks_are_equal_text():
    """Two prompts share as much text as they share leading blocks, and no more."""
    rows = traces.read(recorded(MOONCAKE))
    known: dict[int, traces.Arrival] = {}
    first, other = next(
        (known[row.blocks[0]], row)
        for row in rows
        if len(row.blocks) > 3 and known.setdefault(row.blocks[0], row).blocks[:-1] != row.blocks[:-1]
    )
    shared = sum(1 for _ in _common(first.blocks, other.blocks))
    workload = Workload(seed=1)
    texts = [workload.prompt(n, row).split() for n, row in enumerate((first, other))]
    common = sum(1 for _ in _common(texts[0], texts[1]))
    assert shared * 512 <= common < (shared + 1) * 512


def _common(left, right):
    for a, b in zip(left, right, strict=False):
        if a != b:
            return
        yield a


def test_a_prompt_has_the_length_of_the_trace():
    """A prompt has as many words as the trace has tokens."""
    rows = traces.read(recorded(MOONCAKE))[:50]
    workload = Workload()
    for n, row in enumerate(rows):
        assert len(workload.prompt(n, row).split()) == pytest.approx(row.in_tok, rel=0.05, abs=520)


def test_plays_faster(small: Path):
    """Ten times the speed is a tenth of the time, and ten times the rate."""
    offsets = Trace(small, speed=10).offsets_ns()
    assert offsets == pytest.approx(np.arange(10) * 1e8)


@pytest.mark.parametrize(("keep", "expected"), [(0.5, 5), (0.3, 3), (1, 10), (2, 20), (2.5, 25)])
def test_keeps_a_share_or_sends_more(small: Path, keep: float, expected: int):
    """A share of the requests is kept, or each is sent several times, spread over its gap."""
    offsets = Trace(small, keep=keep).offsets_ns()
    assert len(offsets) == expected
    assert np.all(np.diff(offsets) >= 0)


def test_a_window_of_the_trace(small: Path):
    """Skipping and ending cut the trace, on its own clock and on the played one."""
    assert Trace(small, skip_s=3, duration_s=4).offsets_ns() == pytest.approx(np.arange(4) * 1e9)
    assert len(Trace(small, speed=2, duration_s=2).offsets_ns()) == 4


def test_shards_share_the_trace(small: Path):
    """Each arrival is sent by one shard."""
    trace = Trace(small)
    both = np.sort(np.concatenate([trace.offsets_ns(shard, 2) for shard in range(2)]))
    assert np.array_equal(both, trace.offsets_ns())


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n"])
def test_refuses_what_is_no_trace(tmp_path: Path, text: str):
    """A file of another format is an error that names it."""
    file = tmp_path / "odd.csv"
    file.write_text(text)
    with pytest.raises(LoadError, match=r"odd\.csv"):
        traces.read(file)


def test_refuses_a_missing_trace(tmp_path: Path):
    """A missing file is an error that names it."""
    with pytest.raises(LoadError, match="does not exist"):
        traces.read(tmp_path / "none.csv")
