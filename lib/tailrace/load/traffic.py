"""The whole order for a load run: when, what, from how many processes, and under which name it is recorded."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from tailrace.load.arrivals import Arrivals
from tailrace.load.workload import Workload


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Traffic:
    """Arrivals, the workload they bring, and the labels their records carry."""

    arrivals: Arrivals
    workload: Workload = field(default_factory=Workload)
    shards: Annotated[int, Field(ge=1, le=256)] = 1
    """Generator processes; each sends every `shards`-th request."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """For one request, from when it was sent."""
    phase: str = ""
    step: str = ""
    run_id: str = ""

    @property
    def loop(self) -> str:
        """ "open" or "closed": said in every output."""
        return "closed" if self.arrivals.kind == "users" else "open"

    def describe(self) -> dict[str, Any]:
        """As JSON; `restore` takes it back."""
        described: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return described


def restore(described: dict[str, Any]) -> Traffic:
    """The traffic that `describe` wrote down."""
    return _ADAPTER.validate_python(described)


_ADAPTER = TypeAdapter(Traffic)
