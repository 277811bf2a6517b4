"""What reading an answer costs: `python tests/bench/bench_protocol.py [--tokens 400]`.

CPU of one core, the best of many rounds, which a shared machine disturbs least. "a chunk" is all in: the time is taken,
the event parsed and classified, and the gap noted. The goal is 3 µs, so that the load generator keeps its rate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import orjson

from tailrace.protocol.answer import AnswerReader

GOAL_US = 3.0
ROUNDS = 50


def chunk(finish: str | None = None, **delta: str) -> bytes:
    """Return a chunk as OpenAI and vLLM send it, about 290 bytes."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return b"data: %b\n\n" % orjson.dumps(
        {
            "id": "chatcmpl-123456789012345678901234", "object": "chat.completion.chunk", "created": 1700000000,
            "model": "meta-llama/Llama-3.1-8B-Instruct", "system_fingerprint": "fp_0123456789", "choices": [choice],
        }
    )  # fmt: skip


def best_us(work: Callable[[], object], units: int) -> float:
    """Return the CPU time of one unit of `work`, in its best round."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times) / units * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=400)
    tokens = parser.parse_args().tokens
    pieces = [chunk(role="assistant", content=""), *(chunk(content=f" token{n}") for n in range(tokens)), chunk("stop")]
    pieces.append(b"data: [DONE]\n\n")
    body = orjson.dumps(
        {
            "id": "c", "model": "m", "usage": {"prompt_tokens": 7, "completion_tokens": 3},
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        }
    )  # fmt: skip

    def read(*given: bytes) -> None:
        reader = AnswerReader(len(given) > 1, "chat")
        for piece in given:
            reader.feed(piece, time.perf_counter_ns())
        assert reader.end(True).complete

    def many() -> None:
        for _ in range(1000):
            read(body)

    parsed = pieces[1][6:-2]
    json_us = best_us(lambda: [orjson.loads(parsed) for _ in range(1000)], 1000)
    chunk_us = best_us(lambda: read(*pieces), len(pieces))
    print(f"a chunk of a stream  {chunk_us:5.2f} µs, of which its JSON {json_us:.2f} µs")
    print(f"a plain answer       {best_us(many, 1000):5.2f} µs")
    print(f"{'ok   ' if chunk_us <= GOAL_US else 'below'} goal: {GOAL_US:g} µs a chunk")


if __name__ == "__main__":
    main()
