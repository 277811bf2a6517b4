"""The arguments of `tailrace load`."""

from __future__ import annotations

import signal
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from tailrace.cli import terminal
from tailrace.cli.load import values as read
from tailrace.cli.load.options import ENDPOINTS, LAWS, SHAPES, LoadOptions, TrafficOptions
from tailrace.cli.load.sections import SectionedCommand

EXCLUDED: Final = {
    "users": ("rate", "arrivals", "to_rate", "trace", "find", "sessions"),
    "trace": ("rate", "arrivals", "to_rate", "find"),
}
"""The options that an option excludes: those that say in another way when requests are due."""
SESSIONS_ONLY: Final = ("turns", "system_tokens")
"""The options that have no effect without `--sessions`."""
SHARE: Final = click.FloatRange(0, 1)
POSITIVE: Final = click.FloatRange(0, min_open=True)
FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(cls=SectionedCommand)
@click.argument("url")
@click.option("--rate", default=10.0, show_default=True, type=POSITIVE, help="Requests per second.")
@click.option("--duration", default=30.0, show_default=True, type=POSITIVE, help="Seconds.")
@click.option(
    "--arrivals",
    default="constant",
    show_default=True,
    type=click.Choice([*LAWS, *SHAPES]),
    metavar="NAME",
    help=f"{', '.join([*LAWS, *SHAPES[:-1]])} or {SHAPES[-1]}.",
)
@click.option(
    "--to-rate", type=POSITIVE, help="For ramp, steps and burst (twice the rate by default), and --find (64 times)."
)
@click.option("--cv", default=2.0, show_default=True, type=POSITIVE, help="Variation (CV) of the gaps, for gamma.")
@click.option("--on-s", default=2.0, show_default=True, type=POSITIVE, help="Seconds of traffic, for on-off.")
@click.option("--off-s", default=2.0, show_default=True, type=POSITIVE, help="Seconds of silence, for on-off.")
@click.option("--users", default=0, type=click.IntRange(0), help="A closed loop of N users, instead of a rate.")
@click.option("--sessions", is_flag=True, help="Conversations: --rate counts those that begin, each has several turns.")
@click.option("--turns", default="4", show_default=True, metavar="N[~SIGMA]", help="Turns of a session.")
@click.option(
    "--think-s", "--think", default=0.0, type=click.FloatRange(0), help="Mean pause of a user, or before a later turn."
)
@click.option("--trace", type=FILE, help="Recorded traffic of Azure, BurstGPT, Qwen or Mooncake.")
@click.option("--speed", default=1.0, type=POSITIVE, help="Play the trace this many times faster.")
@click.option("--keep", default=1.0, type=POSITIVE, help="Of the trace: this share, or each request this many times.")
@click.option("--endpoint", default="chat", show_default=True, type=click.Choice(ENDPOINTS), help="Of OpenAI's API.")
@click.option("--stream", is_flag=True, help="Request streams.")
@click.option("--model", multiple=True, default=("gpt-4o-mini",), metavar="NAME[=WEIGHT]", help="May be repeated.")
@click.option("--tenant", multiple=True, metavar="NAME[=WEIGHT]", help="May be repeated.")
@click.option("--prompts", type=FILE, help="Your own, a prompt or conversation a row: JSONL, JSON, CSV, parquet, text.")
@click.option("--repeat", default=0.0, type=SHARE, help="Share of requests that repeat an earlier prompt.")
@click.option("--zipf", default=0.0, type=click.FloatRange(0), help="Exponent of the popularity of repeated prompts.")
@click.option("--prompt-tokens", default="16", show_default=True, metavar="N[~SIGMA]", help="Length; lognormal with ~.")
@click.option("--system-tokens", default=0, type=click.IntRange(0), help="Length of a system message of all sessions.")
@click.option(
    "--max-tokens", default="", metavar="N[~SIGMA]", help="Length of the answers: exact where the target can."
)
@click.option("--temperature", type=click.FloatRange(0, 2), help="Sent to the model; not sent by default.")
@click.option("--shards", default=1, show_default=True, type=click.IntRange(1, 64), help="Generator processes.")
@click.option("--timeout", default=30.0, show_default=True, type=POSITIVE, help="Limit of one request, seconds.")
@click.option("--seed", default=0, show_default=True, help="Seed of arrivals and prompts.")
@click.option("--api-key-env", default="", metavar="NAME", help="Environment variable with the API key.")
@click.option(
    "--header",
    multiple=True,
    callback=read.headers,
    metavar="NAME=VALUE",
    help="May be repeated. NAME=$ENV, and ${ENV} in a value, are filled in when it is sent, and never written down.",
)
@click.option("--extra-body", callback=read.body, metavar="JSON", help="More fields of every body: '{\"top_k\": 5}'.")
@click.option(
    "--slo",
    multiple=True,
    callback=read.limits,
    metavar="[MEASURE_]p99=MS",
    help="A limit, of latency, or of ttft, tpot or itl: ttft_p95=300. May be repeated.",
)
@click.option(
    "--goodput",
    callback=read.goodput,
    metavar="ttft=MS,tpot=MS,share=S",
    help="The share of all requests that has to be within every one of these limits (latency, ttft, tpot).",
)
@click.option("--error-rate", type=SHARE, help="The largest share of failures that is within the limits.")
@click.option("--find", is_flag=True, help="Find the highest rate, from --rate to --to-rate, within the limits.")
@click.option(
    "--server-metrics",
    default="",
    callback=read.page,
    metavar="URL",
    help="The server's own metrics (Prometheus), read while the load runs: vLLM's, llama.cpp's, tailrace's.",
)
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, path_type=Path),
    help="tokenizer.json of the model, or its folder: prompts have exactly their tokens.",
)
@click.option(
    "--rehearse/--no-rehearse",
    default=True,
    show_default=True,
    help="Ask the target first, by five small requests, how it counts tokens and takes lengths.",
)
@click.option("--floor/--no-floor", default=True, show_default=True, help="Measure the client's own floor afterwards.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for records and summary.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def load(context: click.Context, /, find: bool, **values: Any) -> None:
    """Send traffic to the OpenAI-compatible API at URL (http://127.0.0.1:8080/v1) on a schedule, and measure it.

    \b
    Open loop: requests go out on time, whatever the answers do; latency counts
    from the intended start. --users makes it a closed loop, and says so in every
    output.

    \b
    Exit status:
      0    valid, and within the limits
      1    beyond the limits, or every request failed
      2    inconclusive or invalid; or an option is wrong
      3    nothing could be sent
      130  ended by Ctrl-C or SIGTERM; the records are kept
    """
    _refuse_contradictions(context)
    names = {field.name for field in fields(TrafficOptions)}
    traffic = TrafficOptions(**{name: value for name, value in values.items() if name in names})
    options = LoadOptions(traffic=traffic, **{name: value for name, value in values.items() if name not in names})
    from tailrace.cli.load import measurement  # brings NumPy and pydantic, which a help text can do without

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: in order
    try:
        status = measurement.find_capacity(options) if find else measurement.run_load(options)
    except KeyboardInterrupt:  # before there was anything to keep, or for the second time
        terminal.say("interrupted", err=True)
        status = measurement.INTERRUPTED
    sys.exit(status)


def _refuse_contradictions(context: click.Context) -> None:
    """Refuse options that would have no effect beside another one."""
    present = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for name, others in EXCLUDED.items():
        if name in present and (against := [other for other in others if other in present]):
            named = ", ".join("--" + other.replace("_", "-") for other in against)
            raise click.UsageError(f"--{name} says when requests are due, and so does {named}: give one of them")
    if not context.params["sessions"] and (lonely := [name for name in SESSIONS_ONLY if name in present]):
        raise click.UsageError(f"--{lonely[0].replace('_', '-')} is for sessions: give --sessions, too")
    if context.params["tokenizer"] and not context.params["rehearse"]:
        raise click.UsageError("--tokenizer is used in the rehearsal: omit --no-rehearse")
    if context.params["stream"] and context.params["endpoint"] == "embeddings":
        raise click.UsageError("--endpoint embeddings has no streams: omit --stream")
    if "turns" in present and (source := next((name for name in ("prompts", "trace") if name in present), "")):
        raise click.UsageError(f"--turns is for generated sessions, and --{source} says how many each has: omit it")
    if context.params["sessions"] and {"think_s", "trace"} <= present:
        raise click.UsageError("--trace says when each turn is due: omit --think-s")
    rate, to_rate = context.params["rate"], context.params["to_rate"]
    if context.params["find"] and to_rate is not None and to_rate < rate:
        raise click.UsageError(f"--find searches upwards: --to-rate {to_rate:g} is below --rate {rate:g}")
