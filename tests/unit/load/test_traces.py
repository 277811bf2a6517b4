"""Recorded traffic: the published formats, scaled in time and in rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tailrace.errors import LoadError
from tailrace.load import Trace, Workload, sessions, traces
from tailrace.load.traces import recording

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


AZURE_HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST_HEAD = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
QWEN = (
    '{"chat_id":1,"parent_chat_id":-1,"timestamp":0.5,"input_length":40,"output_length":13,"type":"text","turn":1,'
    '"hash_ids":[1,2,3]}\n'
    '{"chat_id":2,"parent_chat_id":1,"timestamp":61.25,"input_length":60,"output_length":7,"type":"text","turn":2,'
    '"hash_ids":[1,2,4,5]}\n'
)
AS_PUBLISHED = {
    "azure 2023": ("a.csv", AZURE_HEAD + "2023-11-16 18:17:03.9799600,48,10\n2023-11-16 18:17:04.0319600,11,27\n"),
    "azure 2024": (
        "a.csv",
        AZURE_HEAD + "2024-05-10 00:00:00.009930+00:00,48,10\n2024-05-10 00:00:00.061930+00:00,11,27\n",
    ),
    "azure, full seconds and two offsets": (
        "a.csv",
        AZURE_HEAD + "2024-05-10 00:00:03+00:00,48,10\n2024-05-10 02:00:03.052+02:00,11,27\n",
    ),
    "azure, BOM, CRLF and blank lines": (
        "a.csv",
        "\ufeff"
        + AZURE_HEAD.replace("\n", "\r\n")
        + "2023-11-16 18:17:03.98,48,10\r\n\r\n2023-11-16 18:17:04.032,11,27\r\n\r\n",
    ),
    "azure, not in order": ("a.csv", AZURE_HEAD + "2023-11-16 18:17:04.032,11,27\n2023-11-16 18:17:03.98,48,10\n"),
    "burstgpt": ("b.csv", BURST_HEAD + "5,ChatGPT,48,10,58,Conversation log\n5.052,GPT-4,11,27,38,API log\n"),
    "burstgpt in JSONL": (
        "b.jsonl",
        '{"Timestamp":5,"Request tokens":48,"Response tokens":10}\n'
        '{"Timestamp":5.052,"Request tokens":11,"Response tokens":27}\n',
    ),
    "mooncake without blocks": (
        "m.jsonl",
        '{"timestamp":100,"input_length":48,"output_length":10}\n\n{"timestamp":152,"input_length":11,"output_length":27}\n',
    ),
    "mooncake in CSV": ("m.csv", "timestamp,input_length,output_length\n100,48,10\n152,11,27\n"),
    "qwen in CSV": ("q.csv", "chat_id,timestamp,input_length,output_length\n1,0.1,48,10\n2,0.152,11,27\n"),
}


@pytest.mark.parametrize("name", AS_PUBLISHED)
def test_reads_each_format_as_it_is_published(tmp_path: Path, name: str):
    """Each format, in its own unit of time, gives seconds from the first request, and the lengths."""
    file = tmp_path / AS_PUBLISHED[name][0]
    file.write_bytes(AS_PUBLISHED[name][1].encode())
    assert [(round(row.at_s, 5), row.in_tok, row.out_tok) for row in traces.read(file)] == [
        (0, 48, 10),
        (0.052, 11, 27),
    ]


@pytest.mark.parametrize("name", ["azure 2024", "burstgpt", "mooncake without blocks", "qwen"])
def test_parquet_holds_what_the_text_holds(tmp_path: Path, name: str):
    """The same rows in parquet are the same arrivals; time stamps may be of parquet's own type."""
    file_name, text = AS_PUBLISHED.get(name, ("q.jsonl", QWEN))
    file = tmp_path / file_name
    file.write_text(text)
    frame = pd.read_csv(file) if file.suffix == ".csv" else pd.read_json(file, lines=True, dtype=False)
    if "TIMESTAMP" in frame:
        frame["TIMESTAMP"] = pd.to_datetime(frame["TIMESTAMP"], utc=True)
    frame.to_parquet(tmp_path / "same.parquet")
    assert traces.read(tmp_path / "same.parquet") == traces.read(file)


def test_qwen_counts_seconds_and_blocks_of_sixteen(tmp_path: Path):
    """Two turns of a Qwen trace are a minute apart, have their lengths, and share two blocks of 16 tokens."""
    (tmp_path / "qwen.jsonl").write_text(QWEN)
    first, second = Trace(tmp_path / "qwen.jsonl").arrivals()
    assert (second.at_s, second.blocks, second.block_tok) == (60.75, (1, 2, 4, 5), 16)
    assert (first.prefix_tok, second.prefix_tok) == (0, 32)
    one, two = (Workload().prompt(n, row).split() for n, row in enumerate((first, second)))
    assert (len(one), len(two)) == (40, 60)
    assert one[:32] == two[:32]
    assert one[32] != two[32]


def test_the_known_prefix_counts_what_was_sent(tmp_path: Path):
    """Of a prompt that is sent again, and goes on, all that the first one sent is known, also of a partial block."""
    rows = [(0, 600, [1, 2]), (1, 600, [1, 2]), (2, 1500, [1, 2, 3]), (3, 700, [1, 9]), (4, 10, [])]
    text = "".join(
        f'{{"timestamp":{at},"input_length":{tokens},"output_length":1,"hash_ids":{ids}}}\n' for at, tokens, ids in rows
    )
    (tmp_path / "m.jsonl").write_text(text)
    played = Trace(tmp_path / "m.jsonl").arrivals()
    assert [row.prefix_tok for row in played] == [0, 600, 600, 512, -1]
    assert played.prefix_share == pytest.approx(1712 / 3400)
    again = Trace(tmp_path / "m.jsonl", keep=2).arrivals()
    assert [row.prefix_tok for row in again][:2] == [0, 600]  # the copy is known, whole


def test_conversations_of_a_trace_are_sessions(tmp_path: Path):
    """Turns follow their parents' chat; a later turn is due at its recorded time, on the played clock."""
    (tmp_path / "q.jsonl").write_text(QWEN + QWEN.splitlines()[0].replace('"chat_id":1', '"chat_id":7') + "\n")
    plans = sessions.of_trace(Trace(tmp_path / "q.jsonl", speed=10))
    assert [(plan.number, len(plan.turns)) for plan in plans] == [(0, 2), (1, 1)]
    assert [turn.due_s for turn in plans[0].turns] == pytest.approx([0.0, 6.075])
    request = Workload().turn(plans[0], 1)
    assert (request.session, request.turn, request.planned_in_tok, request.planned_out_tok) == (0, 1, 60, 7)
    assert request.prefix_tok == 32


def test_sessions_need_a_trace_that_records_them(small: Path, tmp_path: Path):
    """A trace without conversations, and one that is thinned, are refused as sessions."""
    with pytest.raises(ValueError, match="does not record them"):
        sessions.of_trace(Trace(small))
    with pytest.raises(ValueError, match="played whole"):
        sessions.of_trace(Trace(small, keep=0.5))


MOON = '{"timestamp": 0, "input_length": 655, "output_length": 52}\n'
BROKEN = {
    "of no format": ("x.csv", "a,b\n1,2\n", "line 2.*a, b.*expected TIMESTAMP"),
    "empty": ("x.csv", "", "has no rows"),
    "no time stamp": ("x.csv", AZURE_HEAD + "yesterday,1,2\n", "line 2: found TIMESTAMP 'yesterday'"),
    "a cell too few": ("x.csv", AZURE_HEAD + "2023-11-16 18:17:03,1\n", "line 2: found 2 fields; expected 3"),
    "a quote that stays open": ("x.csv", AZURE_HEAD + '"2023-11-16 18:17:03,1,2\n', "line 2"),
    "negative": ("x.csv", AZURE_HEAD + "2023-11-16 18:17:03,-1,2\n", "line 2: found ContextTokens -1"),
    "NaN": ("x.csv", AZURE_HEAD + "2023-11-16 18:17:03,nan,2\n", "line 2: found ContextTokens 'nan'"),
    "a fraction of a token": ("x.csv", BURST_HEAD + "5,m,1.5,2,3,x\n", "line 2: found Request tokens 1.5"),
    "a negative time": ("x.csv", BURST_HEAD + "-5,m,1,2,3,x\n", "line 2: found Timestamp -5"),
    "not UTF-8": ("x.csv", AZURE_HEAD.encode() + b"2023\xa0,1,1\n", "line 2: found byte 0xa0.*UTF-8"),
    "UTF-16": ("x.csv", AZURE_HEAD.encode("utf-16"), "UTF-16"),
    "a cut line": ("x.jsonl", MOON + '{"timestamp": 1, "inp', "line 2: found .*timestamp"),
    "null": ("x.jsonl", MOON + MOON.replace("52", "null"), "line 2: found output_length None"),
    "text for a number": ("x.jsonl", MOON.replace("655", '"655"'), "line 1: found input_length '655'"),
    "a bool": ("x.jsonl", MOON.replace("655", "true"), "line 1: found input_length True"),
    "huge": ("x.jsonl", MOON.replace("655", "1e300"), "line 1: found input_length 1e"),
    "a list": ("x.jsonl", "[1, 2]\n", "line 1: found a list"),
    "a column that stops": (
        "x.jsonl",
        MOON + '{"timestamp": 1, "input_length": 5}\n',
        "line 2: found no output_length",
    ),
    "seconds without a chat": (
        "x.jsonl",
        MOON.replace(": 0,", ": 61.114,"),
        "line 1: found timestamp 61.114; expected milli",
    ),
    "blocks of text": ("x.jsonl", MOON.replace("52}", '52, "hash_ids": ["a"]}'), "line 1: found hash_ids"),
    "no parquet": ("x.parquet", "PAR1", "not a parquet file"),
    "another suffix": ("x.xml", "<a/>", "found .xml, expected one of"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_what_it_cannot_read(tmp_path: Path, name: str):
    """A broken row is refused with its line, what it holds and what was expected; nothing is guessed."""
    file_name, content, expected = BROKEN[name]
    (tmp_path / file_name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(LoadError, match=f"(?s)x\\..*{expected}"):
        traces.read(tmp_path / file_name)


def test_a_part_of_a_huge_file_takes_the_memory_of_the_part(tmp_path: Path):
    """Reading ends an hour after the part that is played: what is behind it, broken or not, is not looked at."""
    rows = "".join(f"{at},m,1,2,3,x\n" for at in (0, 10, 20, 3_000, 4_000)) + "broken\n"
    (tmp_path / "b.csv").write_text(BURST_HEAD + rows)
    assert len(Trace(tmp_path / "b.csv", duration_s=30).arrivals()) == 3
    with pytest.raises(LoadError, match="line 7"):  # the control: the whole file is not readable
        traces.read(tmp_path / "b.csv")


def test_a_part_needs_rows_in_order(tmp_path: Path):
    """Where only a part is read, a row that lies hours before the first one is refused: it may not be the only one."""
    (tmp_path / "b.csv").write_text(BURST_HEAD + "9000,m,1,2,3,x\n0,m,1,2,3,x\n")
    with pytest.raises(LoadError, match="sort the file"):
        Trace(tmp_path / "b.csv", duration_s=30).arrivals()
    assert [row.at_s for row in traces.read(tmp_path / "b.csv")] == [0, 9000]


def test_more_than_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A trace that needs more memory than the limit is refused, and told to play a part."""
    (tmp_path / "b.csv").write_text(BURST_HEAD + "1,m,1,2,3,x\n" * 5000)
    assert len(traces.read(tmp_path / "b.csv")) == 5000
    monkeypatch.setattr(recording, "MOST_BYTES", 50_000)
    with pytest.raises(LoadError, match="play a part"):
        traces.read(tmp_path / "b.csv")


def test_says_what_it_recognised(small: Path):
    """A line names the format with its unit, and the tokens to come."""
    assert Trace(small).describe() == "small.csv: Azure (time stamps), 10 requests, mean 104 tokens in and 6 out"


def test_a_large_file_has_the_time_that_it_needs(small: Path):
    """A generator process may take a second a megabyte to get ready."""
    assert Trace(small).reading_s == pytest.approx(small.stat().st_size / 1e6)
    assert Trace(small.with_name("none.csv")).reading_s == 0


def test_refuses_a_missing_trace(tmp_path: Path):
    """A missing file is an error that names it."""
    with pytest.raises(LoadError, match="does not exist"):
        traces.read(tmp_path / "none.csv")
