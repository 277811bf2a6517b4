"""The full description of a load run: arrivals, workload, number of processes, and the labels of its records."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from tailrace.load.arrivals import Arrivals
from tailrace.load.workload import Workload


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Traffic:
    """Arrivals, the requests to send at them, and the labels of their records."""

    arrivals: Arrivals
    workload: Workload = field(default_factory=Workload)
    shards: Annotated[int, Field(ge=1, le=256)] = 1
    """The number of generator processes; each sends every `shards`-th request."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """The limit of one request, from when it was sent."""
    phase: str = ""
    step: str = ""
    run_id: str = ""
    part_s: Annotated[float, Field(gt=0, le=3600)] = 5.0
    """How old records get before they are on disk."""

    def __post_init__(self) -> None:
        if self.workload.sessions is not None and self.arrivals.kind == "users":
            raise ValueError("sessions arrive in an open loop: give a rate of sessions instead of users")

    @property
    def loop(self) -> str:
        """ "open" or "closed"; every output names it."""
        return "closed" if self.arrivals.kind == "users" else "open"

    def describe(self) -> dict[str, Any]:
        """Return it as JSON; `restore` is the inverse."""
        described: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return described


def restore(described: dict[str, Any]) -> Traffic:
    """Return the traffic that `describe` described."""
    return _ADAPTER.validate_python(described)


_ADAPTER = TypeAdapter(Traffic)
