"""One flat row per request: the durable artefact from which every figure can be recomputed.

Integers carry their unit in their name. Times are `time.perf_counter_ns()` of the machine that sent the
request: one monotonic clock, shared by every process of the machine. Latency is not stored; `tailrace.analysis`
derives it, from both starts:

    from intended   send_lag_us + service_us     what a user who arrived on schedule waited
    from sent       service_us                   what the service took from the request on

The times of tokens count from when the request was sent, too. A chunk carries a token when it holds content, reasoning,
a tool call, a refusal or audio; a chunk with nothing but a role, a comment or the usage carries none.

A failed request has a row like any other, with `outcome` "error" and the time until it failed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

HIT: Final = "hit"  # answered from a cache, by `x-tailrace-cache`
MISS: Final = "miss"  # answered by the provider
ERROR: Final = "error"


class Record(NamedTuple):
    """The facts of one request, in the order of the columns."""

    run_id: str
    shard: int  # which generator process sent it
    seq: int  # place in the schedule of that shard, from 0
    step: str  # "03_blue_green_switch"
    phase: str  # the part of the step, or the variant: "switch", "cached", …
    colour: str  # of the instance that answered, from `x-colour`; "" when none did
    release: str  # from `x-release`; "" when none answered
    generation: int  # of the edge's routes, from `x-generation`; 0 when unknown
    model: str
    stream: bool
    outcome: str  # HIT, MISS or ERROR
    error_type: str  # "" or one of tailrace.load's classes: "connect", "timeout", "http_503", "cut_stream", …
    status: int  # of the last answer; 0 when none came
    attempts: int  # upstream attempts that the client made; 1 for a plain request, 0 for a local hit
    intended_ns: int  # when it was due by the schedule
    send_lag_us: int  # sent minus intended: the generator's own error
    service_us: int  # last byte (or failure) minus sent
    ttfc_us: int  # TTFT: first chunk that carries a token minus sent; -1 when none came, and for plain answers
    backoff_us: int  # of service_us, the part spent waiting between attempts
    chunks: int  # of a stream, those that carry tokens; 0 when not streamed
    in_tok: int
    out_tok: int
    cached_tok: int  # of in_tok, those that the provider had cached
    cost_microusd: int  # -1: the model's price is not known
    ttfb_us: int = -1  # first byte of the body minus sent; -1 when none came
    ttfa_us: int = -1  # first token of the answer, not of its reasoning, minus sent; -1 when none came
    last_token_us: int = -1  # last chunk that carries a token minus sent; -1 when none came
    reasoning_tok: int = 0  # of out_tok, those of reasoning
    planned_in_tok: int = -1  # tokens of the prompt by the plan; -1 when nothing was planned
    planned_out_tok: int = -1  # tokens of the answer that were asked for
    prefix_tok: int = -1  # of planned_in_tok, those of a beginning that was sent before
    session: int = -1  # number of the session; -1 outside of one
    turn: int = 0  # place in the session, from 0


DEFAULTS: Final = Record._field_defaults
"""The columns that files of older versions lack, and what readers fill in for them."""
