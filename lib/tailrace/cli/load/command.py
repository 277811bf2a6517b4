"""`tailrace load`: run a load, print its summary, exit with 0 (valid, limits met), 1 (not met) or 2 (inconclusive)."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import click
import orjson
from click.core import ParameterSource

from tailrace import percentiles
from tailrace.cli.load import screen
from tailrace.cli.load.options import LAWS, SHAPES, Order
from tailrace.load import LoadRun, start
from tailrace.verdict import EXIT_CODES, INCONCLUSIVE, PASS, fold

_INTERRUPTED = 130
_INSTEAD = {
    "users": ("rate", "arrivals", "to_rate", "trace", "find"),
    "trace": ("rate", "arrivals", "to_rate", "find"),
}
"""What makes no sense beside an option: those that say in another way when requests are due."""
_KEPT = "interrupted: what was recorded is kept"
SHARE = click.FloatRange(0, 1)
POSITIVE = click.FloatRange(0, min_open=True)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Way:
    """What to send the traffic to, and what to make of it."""

    url: str
    out: Path | None
    as_json: bool
    slo: Mapping[str, float]
    error_rate: float | None
    find: bool
    floor: bool
    options: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where records and summary go: a new folder below `loads/` when none was named."""
        return self.out or Path("loads") / time.strftime("%Y%m%d-%H%M%S")


def _slo(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Read `p99=800`."""
    try:
        limits = {name: float(limit) for name, _, limit in (value.partition("=") for value in values)}
        if all(percentiles.share(name) for name in limits):
            return limits
    except ValueError:
        pass
    raise click.BadParameter(f"{' '.join(values)}: expected a percentile and its limit in ms, like p99=800")


@click.command()
@click.argument("url")
@click.option("--rate", default=10.0, show_default=True, type=POSITIVE, help="Requests per second.")
@click.option("--duration", default=30.0, show_default=True, type=POSITIVE, help="Seconds.")
@click.option(
    "--arrivals",
    default="constant",
    show_default=True,
    type=click.Choice([*LAWS, *SHAPES]),
    help="When requests are due.",
)
@click.option(
    "--to-rate", type=POSITIVE, help="For ramp, steps and burst (twice the rate by default), and --find (64 times)."
)
@click.option("--cv", default=2.0, show_default=True, type=POSITIVE, help="Of the gaps, for gamma.")
@click.option("--on-s", default=2.0, show_default=True, type=POSITIVE, help="For on-off.")
@click.option("--off-s", default=2.0, show_default=True, type=POSITIVE, help="For on-off.")
@click.option("--users", default=0, type=click.IntRange(0), help="A closed loop of N users, instead of a rate.")
@click.option("--think-s", default=0.0, type=click.FloatRange(0), help="Mean pause of a user between requests.")
@click.option("--trace", type=FILE, help="Recorded traffic: Azure CSV or Mooncake JSONL.")
@click.option("--speed", default=1.0, type=POSITIVE, help="Play the trace so many times faster.")
@click.option("--keep", default=1.0, type=POSITIVE, help="Of the trace: this share, or so many times each.")
@click.option("--stream", is_flag=True, help="Ask for streams.")
@click.option("--model", multiple=True, default=("gpt-4o-mini",), metavar="NAME[=WEIGHT]", help="May be repeated.")
@click.option("--tenant", multiple=True, metavar="NAME[=WEIGHT]", help="May be repeated.")
@click.option("--prompts", type=FILE, help="Prompts of yours: .jsonl, .csv or .parquet.")
@click.option("--repeat", default=0.0, type=SHARE, help="Share of requests that ask what was asked before.")
@click.option("--zipf", default=0.0, type=click.FloatRange(0), help="Exponent of the popularity of repeated prompts.")
@click.option("--prompt-tokens", default="16", show_default=True, metavar="N[~SIGMA]", help="Length; lognormal with ~.")
@click.option("--max-tokens", default="", metavar="N[~SIGMA]", help="Asked of the model.")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(0, 2), help="Asked of the model.")
@click.option("--shards", default=1, show_default=True, type=click.IntRange(1, 64), help="Generator processes.")
@click.option("--timeout", default=30.0, show_default=True, type=POSITIVE, help="Of one request, seconds.")
@click.option("--seed", default=0, show_default=True, help="Of arrivals and prompts.")
@click.option("--api-key-env", default="", metavar="NAME", help="Environment variable with the API key.")
@click.option("--slo", multiple=True, callback=_slo, metavar="p99=MS", help="A limit to judge by. May be repeated.")
@click.option("--error-rate", type=SHARE, help="The share of failures that is within the limits.")
@click.option("--find", is_flag=True, help="Find the highest rate, from --rate to --to-rate, that meets --slo.")
@click.option("--floor/--no-floor", default=True, show_default=True, help="Measure the client's own floor afterwards.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for records and summary.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def load(context: click.Context, /, **given: Any) -> None:
    """Send traffic to the OpenAI-compatible API at URL (http://127.0.0.1:8080/v1) on a schedule, and measure it.

    \b
    Open loop: requests go out on time, whatever the answers do; latency counts from the intended start.
    --users makes it a closed loop, and says so in every output.
    Exit status: 0 valid and within --slo, 1 beyond --slo, 2 inconclusive or invalid (or an option that is wrong), 3
    when nothing could be sent, 130 after Ctrl-C or SIGTERM (the records are kept).
    """
    _refuse_contradictions(context)
    names = {field.name for field in fields(Order)}
    order = Order(**{name: value for name, value in given.items() if name in names})
    key = {"api_key_env": given["api_key_env"]} if given["api_key_env"] else {}
    told = {name: given[name] for name in ("url", "out", "as_json", "slo", "error_rate", "find", "floor")}
    way = Way(**told, options=key)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: in order
    sys.exit(_find(order, way) if way.find else _run_load(order, way))


def _refuse_contradictions(context: click.Context) -> None:
    """Refuse options that were given and would be left out of account."""
    given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    for name, others in _INSTEAD.items():
        if name in given and (against := [other for other in others if other in given]):
            named = ", ".join("--" + other.replace("_", "-") for other in against)
            raise click.UsageError(f"--{name} says when requests are due, and so does {named}: give one of them")
    rate, to_rate = context.params["rate"], context.params["to_rate"]
    if context.params["find"] and to_rate is not None and to_rate < rate:
        raise click.UsageError(f"--find searches upwards: --to-rate {to_rate:g} is below --rate {rate:g}")


def _run_load(order: Order, way: Way) -> int:
    folder = way.folder
    load_run = start(order.traffic(), way.url, folder, options=way.options)
    interrupted = not _watched(load_run)
    summary = load_run.summary
    # pandas is loaded when the traffic is over: it would be in the way before.
    from tailrace import analysis
    from tailrace.cli.load.document import COLUMNS, document

    said = document(summary, load_run.parts)
    said |= {"url": way.url, "arrivals": load_run.traffic.arrivals.name, "seed": order.seed}
    if way.floor and not interrupted:
        said["floor"] = _floor(order.rate)
    judged = []
    if way.slo or way.error_rate is not None:
        records = analysis.read(load_run.parts, COLUMNS)
        judged = analysis.judge(records, way.slo, way.error_rate, invalid=summary.reasons)
        said["judgements"] = [asdict(judgement) for judgement in judged]
    _tell(way, folder / "summary.json", said, [screen.table(said), *(f"{j.verdict}: {j.text}" for j in judged)])
    if interrupted:
        return _INTERRUPTED
    if judged:
        return EXIT_CODES[fold(judgement.verdict for judgement in judged)]
    return EXIT_CODES[PASS if summary.valid else INCONCLUSIVE]


def _watched(load_run: LoadRun) -> bool:
    """Watch to the end; False when Ctrl-C ended it."""
    try:
        screen.watch(load_run)
        load_run.wait()
    except KeyboardInterrupt:
        load_run.stop(grace_s=1.0)
        click.echo(_KEPT, err=True)
        return False
    return True


def _floor(rate_rps: float) -> dict[str, Any]:
    from tailrace.load.calibration import floor

    measured = floor(min(rate_rps, 1000.0) if rate_rps >= 100 else 100.0)
    return {**asdict(measured), "text": str(measured)}


def _find(order: Order, way: Way) -> int:
    """Search for the limit; 0 when it was found, 2 when it was not."""
    from tailrace.load import rate_search as limit

    folder = way.folder
    objectives = limit.Objectives(way.slo or {"p99": 1000.0}, 0.01 if way.error_rate is None else way.error_rate)
    search = limit.Search(order.rate, order.to_rate or order.rate * 64)
    probe = limit.probe(order.traffic, way.url, folder, objectives, way.options)
    try:
        found = limit.find(_aloud(probe), search)
    except KeyboardInterrupt:
        click.echo(_KEPT, err=True)
        return _INTERRUPTED
    points = [asdict(point) for point in found.points]
    said = {**asdict(found), "points": points, "objectives": asdict(objectives), "url": way.url}
    _tell(way, folder / "limit.json", said, [found.reason])
    return EXIT_CODES[PASS if found.highest_rps > 0 else INCONCLUSIVE]


def _aloud(measure: Callable[[float], Any]) -> Callable[[float], Any]:
    def told(rate_rps: float) -> Any:
        point = measure(rate_rps)
        tails = "  ".join(f"{name} {value:,.1f} ms" for name, value in point.latencies_ms.items())
        met = "meets" if point.meets and point.valid else point.reason
        click.echo(f"{rate_rps:10,.1f}/s  goodput {point.goodput_rps:10,.1f}/s  {tails}  {met}", err=True)
        return point

    return told


def _tell(way: Way, file: Path, said: dict[str, Any], lines: list[str]) -> None:
    text = orjson.dumps(said, option=orjson.OPT_INDENT_2).decode()
    file.write_text(text + "\n")
    with contextlib.suppress(BrokenPipeError):
        click.echo(text if way.as_json else "\n".join([*lines, f"records and {file.name}: {file.parent}"]))
