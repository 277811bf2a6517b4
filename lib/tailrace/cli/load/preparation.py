"""What happens before a load: its files are read, and a few requests ask the target how it counts tokens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tailrace import request_headers
from tailrace.cli import terminal
from tailrace.cli.load import traffic
from tailrace.cli.load.options import LoadOptions
from tailrace.errors import LoadError
from tailrace.load import Trace, Traffic, corpus
from tailrace.load.rehearsal import rehearse
from tailrace.load.sessions import of_trace


@dataclass(frozen=True)
class Prepared:
    """The traffic, as its target wants it, and a line for each thing that a reader should know of it."""

    options: LoadOptions
    traffic: Traffic
    findings: tuple[str, ...] = ()

    def at(self, rate_rps: float) -> Traffic:
        """Return the same traffic at another rate."""
        return replace(self.traffic, arrivals=traffic.arrivals_at(self.options.traffic, rate_rps))


def prepare(options: LoadOptions) -> Prepared:
    """Return the traffic; LoadError or ProfileError when it cannot be sent. Each finding goes to stderr at once."""
    terminal.know((*request_headers.variables(options.header), options.api_key_env))
    sender = options.sender
    file = options.traffic.prompts
    own = corpus.load(file) if file else None
    planned = traffic.build(options.traffic, own.prompts if own else ())
    findings = [*([f"{file.name}: {own}"] if file and own else []), *_recorded(planned)]
    if options.rehearse:
        rehearsal = rehearse(planned, options.url, sender, options.tokenizer)
        planned = rehearsal.traffic
        findings += [f"rehearsal: {_redacted(finding, options)}" for finding in rehearsal.findings]
    for finding in findings:
        terminal.say(finding, err=True)
    return Prepared(options, planned, tuple(findings))


def _recorded(planned: Traffic) -> Iterator[str]:
    """Yield what a trace was read as, and the sessions in it, where they are played."""
    if not isinstance(planned.arrivals, Trace):
        return
    yield planned.arrivals.describe()
    if planned.workload.sessions is not None:
        try:
            plans = of_trace(planned.arrivals)
        except ValueError as error:
            raise LoadError(f"--sessions: {error}") from None
        yield f"{planned.arrivals.path.name}: {len(plans):,} sessions of {len(planned.arrivals.arrivals()):,} turns"


def _redacted(text: str, options: LoadOptions) -> str:
    """Return the text without the values of secrets: a target may repeat in an error what it was sent."""
    templates = {**options.header, "authorization": f"${{{options.api_key_env}}}" if options.api_key_env else ""}
    return request_headers.redacted(text, templates, os.environ)
