"""How a simulator is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from tailrace.simulator.faults import Fault
from tailrace.simulator.latency import Latency

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that `tailrace simulate` can be told; latency and faults can be changed while it runs."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    seed: int = 1
    latency: Latency = field(default_factory=Latency)
    faults: tuple[Fault, ...] = ()
    log: Path | None = None
    """Access log, one JSON object per line."""
    tokens: int = 16
    """Median length of an answer."""
    require_key: bool = False
    """Refuse requests without a credential."""
    admin_from: tuple[Network, ...] = ()
    """From where, beside the loopback, the admin path may be used: in a container, the host comes by a gateway."""
