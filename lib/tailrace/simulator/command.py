"""`tailrace simulate`: its options. The simulator itself is imported when it runs."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tailrace.simulator.faults import Fault
    from tailrace.simulator.settings import Network


def _faults(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[Fault, ...]:
    return tuple(map(_fault, values))


def _fault(value: str) -> Fault:
    """Parse `kind=error500,probability=0.3,after=200`."""
    from pydantic import ValidationError

    from tailrace.simulator.admin import problems
    from tailrace.simulator.faults import Fault

    try:
        return Fault.model_validate(dict(item.partition("=")[::2] for item in value.split(",")))
    except ValidationError as error:
        raise click.BadParameter(f"{value!r}: {problems(error)}") from None


def _networks(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[Network, ...]:
    try:
        return tuple(map(ipaddress.ip_network, values))
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected an address (10.0.0.1) or a network (10.0.0.0/24)") from None


SIGMA = click.FloatRange(0, 3)
SECONDS = click.FloatRange(0, 3_600)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65_535), help="0: any free port.")
@click.option("--seed", default=1, show_default=True, help="Of responses, latencies and faults.")
@click.option("--ttft-s", default=0.05, show_default=True, type=SECONDS, help="Median time to first token.")
@click.option("--ttft-sigma", default=0.35, show_default=True, type=SIGMA, help="Standard deviation of its logarithm.")
@click.option("--token-s", default=0.001, show_default=True, type=SECONDS, help="Median time per further token.")
@click.option("--token-sigma", default=0.2, show_default=True, type=SIGMA, help="Standard deviation of its logarithm.")
@click.option(
    "--tokens", default=16, show_default=True, type=click.IntRange(1, 4_096), help="Median length of an answer."
)
@click.option("--fault", "faults", multiple=True, callback=_faults, metavar="kind=KIND,…", help="May be repeated.")
@click.option("--require-key", is_flag=True, help="Answer 401 to requests without a credential.")
@click.option(
    "--admin-from",
    multiple=True,
    callback=_networks,
    metavar="CIDR",
    help="Network that may use the admin path, beside the loopback. May be repeated.",
)
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Access log, JSON lines.")
@click.option("--log-tokens", is_flag=True, help="Add the time of each token of a stream to the access log.")
@click.option(
    "--reasoning-tokens", default=0, show_default=True, type=click.IntRange(0, 65_536), help="Before each answer."
)
@click.option(
    "--reasoning-field",
    default="reasoning_content",
    show_default=True,
    help="Of a chat: reasoning_content, reasoning.",
    type=click.Choice(["reasoning_content", "reasoning"]),
    metavar="NAME",
)
@click.option("--role-first", is_flag=True, help="Send a stream's opening at once, not with its first token.")
@click.option(
    "--tokens-per-chunk", default=1, show_default=True, type=click.IntRange(1, 64), help="Tokens in a stream's chunk."
)
@click.option(
    "--keep-alive-s", default=0.0, show_default=True, type=SECONDS, help="Send a comment in so long a silence; 0: none."
)
@click.option("--usage-in-each-chunk", is_flag=True, help="Of a streamed chat or completion.")
@click.option("--reasoning-model", is_flag=True, help="Refuse max_tokens, and a temperature or top_p other than 1.")
def simulate(
    host: str, port: int, seed: int, ttft_s: float, ttft_sigma: float, token_s: float, token_sigma: float,
    tokens: int, faults: tuple[Fault, ...], require_key: bool, admin_from: tuple[Network, ...], log: Path | None,
    log_tokens: bool, **dialect: Any,
) -> None:  # fmt: skip
    """Run a simulated OpenAI-compatible provider, with seeded responses, latencies and faults.

    \b
    --fault kind=rate_limit,probability=0.02,retry_after_s=0.2
    --fault kind=error500,sequence=001,after=200,count=50
    --fault kind=outage,duration_s=3
    --fault kind=error_event,form=finish,chunks=4
    """
    from tailrace.simulator import process
    from tailrace.simulator.dialect import Dialect
    from tailrace.simulator.latency import Latency
    from tailrace.simulator.settings import Settings

    if log_tokens and log is None:
        raise click.UsageError("--log-tokens adds to the access log; name its file by --log FILE")
    latency = Latency(ttft_s=ttft_s, ttft_sigma=ttft_sigma, token_s=token_s, token_sigma=token_sigma)
    settings = Settings(
        host, port, seed, latency, faults, log, tokens, require_key, admin_from, Dialect(**dialect), log_tokens
    )
    try:
        process.run(settings)
    except OSError as error:
        raise click.ClickException(f"simulator on {host}:{port}: {error}") from None
