"""The options of `tailrace load`, as they stand on the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tailrace import credentials, request_headers
from tailrace.errors import LoadError
from tailrace.objectives import Goodput, Objectives

if TYPE_CHECKING:
    from tailrace.load.beside import Beside
    from tailrace.load.bodies import Endpoint

LAWS: Final = ("constant", "poisson", "gamma")
SHAPES: Final = ("ramp", "steps", "burst", "on-off")
ENDPOINTS: Final = ("chat", "completions", "responses", "embeddings")


@dataclass(frozen=True)
class TrafficOptions:
    """The requests to send, and their schedule."""

    rate: float = 10.0
    duration: float = 30.0
    arrivals: str = "constant"
    to_rate: float | None = None
    cv: float = 2.0
    on_s: float = 2.0
    off_s: float = 2.0
    users: int = 0
    think_s: float = 0.0
    sessions: bool = False
    turns: str = "4"
    system_tokens: int = 0
    trace: Path | None = None
    speed: float = 1.0
    keep: float = 1.0
    endpoint: Endpoint = "chat"
    stream: bool = False
    model: tuple[str, ...] = ("gpt-4o-mini",)
    tenant: tuple[str, ...] = ()
    prompts: Path | None = None
    repeat: float = 0.0
    zipf: float = 0.0
    prompt_tokens: str = "16"
    max_tokens: str = ""
    temperature: float | None = None
    shards: int = 1
    timeout: float = 30.0
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0


@dataclass(frozen=True)
class LoadOptions:
    """The URL for the traffic, the limits for its records, and the outputs."""

    url: str
    traffic: TrafficOptions
    slo: Objectives
    """The limits of percentiles."""
    goodput: Goodput | None = None
    error_rate: float | None = None
    api_key_env: str = ""
    header: Mapping[str, str] = field(default_factory=dict)
    """Templates: `${NAME}` in a value is filled in by the process that sends it."""
    server_metrics: str = ""
    """The URL of the server's own metrics; empty for none."""
    tokenizer: Path | None = None
    rehearse: bool = True
    floor: bool = True
    out: Path | None = None
    as_json: bool = False

    @property
    def objectives(self) -> Objectives:
        """The limits of `--slo`, `--goodput` and `--error-rate`."""
        return replace(self.slo, error_rate=self.error_rate, goodput=self.goodput)

    @property
    def shown_url(self) -> str:
        """The URL as it may be written down: without the values of parameters that are named like credentials."""
        address, mark, query = self.url.partition("?")
        return address + mark + "&".join(map(_shown, query.split("&")))

    @property
    def sender(self) -> dict[str, Any]:
        """The options of the sender; LoadError when the environment lacks what a header needs."""
        for name in request_headers.variables(self.header):
            if reason := request_headers.missing(name, os.environ):
                raise LoadError(f"--header: {reason}")
        options: dict[str, Any] = {"headers": dict(self.header)} if self.header else {}
        return options | ({"api_key_env": self.api_key_env} if self.api_key_env else {})

    @property
    def beside(self) -> list[Beside]:
        """What is sampled beside the load, other than the machine; a key goes to no other host than the target's."""
        from tailrace.host.scrape import MetricsPage
        from tailrace.load import beside

        if not self.server_metrics:
            return []
        key = {"authorization": f"Bearer ${{{self.api_key_env}}}"} if self.api_key_env else {}
        same = urlsplit(self.server_metrics).netloc == urlsplit(self.url).netloc
        metrics = MetricsPage(self.server_metrics, headers={**key, **self.header} if same else {})
        return [beside.server(lambda: {"": metrics})]


def _shown(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    secret = credentials.SECRET_NAME.search(name.replace("-", "_"))
    return f"{name}{equals}{'…' if secret and value else value}"
