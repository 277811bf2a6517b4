"""The settings of a simulator."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from tailrace.simulator.dialect import PLAIN, Dialect
from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Latency

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of `tailrace simulate`; latency, dialect and faults can be changed while it runs."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    seed: int = 1
    latency: Latency = field(default_factory=Latency)
    faults: tuple[Fault, ...] = ()
    log: Path | None = None
    """AccessRecord log, one JSON object per line."""
    tokens: int = 16
    """Median length of an answer without its reasoning, in tokens."""
    require_key: bool = False
    """Answer 401 to requests without a credential."""
    admin_from: tuple[Network, ...] = ()
    """Networks beside the loopback that may use the admin path: a container sees its host as a gateway."""
    dialect: Dialect = PLAIN
    log_tokens: bool = False
    """Whether the log holds the time of each token of a stream."""
