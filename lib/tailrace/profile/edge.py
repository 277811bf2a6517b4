"""The section `edge` of a profile: the proxy in front of the two slots."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field

from tailrace.profile.section import Port, PositiveSeconds, ProfileSection

Upgrade = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9!#$%&'*+.^_`|~/-]{1,64}$",
        description="a value of the Upgrade header in lower case, as websocket",
    ),
]


AbsolutePath = Annotated[str, Field(pattern=r"^/[^\x00]*[^/\x00]$", description="an absolute path of a file")]


class Tls(ProfileSection):
    """TLS at the front door. The files are read where they are, and again when renewed; the key is never copied."""

    certificate: AbsolutePath
    """In PEM: the certificate of this host first, then those above it."""
    key: AbsolutePath
    """In PEM, without a password."""
    name: str = Field(
        default="", pattern=r"^[A-Za-z0-9.-]{0,253}$", description="the name of a host, as api.example.com"
    )
    """The name in the deployment's URL, as the certificate has it and as this machine resolves it; empty: the host."""


METRICS = "/metrics"
HiddenPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-]$", max_length=60)]


class EdgeSettings(ProfileSection):
    """The proxy in front of the two slots."""

    host: str = "127.0.0.1"
    port: Port = 0
    open: bool = False
    """Whether it may listen beyond loopback: the edge does not ask who calls, so that is settled elsewhere."""
    hidden_paths: tuple[HiddenPath, ...] | None = Field(default=None, max_length=16)
    """Paths that get a 404 at the front door, with all below. Without a value `/metrics`, and `service.metrics`."""
    metrics_port: Port = 0
    """The port on 127.0.0.1 where the edge shows its own counters to Prometheus; 0: nowhere."""
    stream_idle_s: PositiveSeconds = 660.0
    """The edge ends an answer that has been silent for this long, before its first byte or after. Otherwise it has no
    limit. Longer than tailrace's own service waits, so that a caller hears from the service what happened."""
    reuse_connections: bool = True
    """False: each request gets a connection of its own to the instance. For a server that closes one after an answer
    without having said so, as llama.cpp's does after each stream: a request on its way there would be a 503."""
    trusted_hops: int | None = Field(default=None, ge=0, le=16)
    """How many proxies in front of the edge are trusted. With 0 a client's own `X-Forwarded-*` headers are replaced.

    Without a number it is 1 for an edge on loopback, which only programs of this machine reach, and 0 for any other.
    """
    upgrades: tuple[Upgrade, ...] = ("websocket",)
    """The values of `Upgrade` that are passed to the service. Any other is ignored: the request goes on without it."""
    max_header_kb: int = Field(default=60, ge=1, le=8192)
    """A request with more than this in its headers gets a 431."""
    max_body_mb: int = Field(default=64, ge=1, le=4000)
    """A request with a larger body gets a 413, where requests are buffered."""
    request_s: PositiveSeconds = 120.0
    """A request that is not whole after so long gets a 408. An answer that has begun has no such limit."""
    buffered: bool | None = None
    """Whether a request goes to its instance once it is whole, so that a slow caller occupies none.

    Without a value it does with HTTP/1.1. With `protocol: h2c` it goes on as it comes: gRPC may answer a first message
    before the second."""
    tls: Tls | None = None
    """Without it the front door speaks plain HTTP. The doors for probes, previews and the admin always do."""

    @property
    def hops(self) -> int:
        """How many proxies in front of the edge are trusted."""
        return int(self.is_on_loopback) if self.trusted_hops is None else self.trusted_hops

    @property
    def is_on_loopback(self) -> bool:
        """Whether only programs of this machine reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
