"""The plan of a benchmark: targets, a grid of load × input × output, and how long each cell is measured."""

from __future__ import annotations

import math
import random
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from tailrace import percentiles
from tailrace.errors import ProfileError
from tailrace.objectives import Goodput
from tailrace.profile import Simulator, core_schema, mistakes
from tailrace.profile.section import ProfileSection

MOST_CELLS: Final = 2_000
"""Measurements of a plan, repeats included: at five seconds each, three hours."""
Positive = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Target(ProfileSection):
    """Where the load goes: an API by `url`, a `simulator` that the benchmark starts, or else the deployment."""

    url: Annotated[str, Field(pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")] = ""
    """The base of an OpenAI-compatible API, with its `/v1`."""
    simulator: Simulator | None = None
    model: str = ""
    """Empty for the model of the profile."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with each request; `${NAME}` is replaced by the environment variable, and never stored."""
    price_per_hour: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of one replica, in USD."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.url and self.simulator:
            raise ValueError("found url and simulator; give one of them, or neither for the profile's deployment")
        return self


class Measure(ProfileSection):
    """How long a cell is measured: until its interval is narrow enough, or its time is over."""

    warmup_s: Annotated[float, Field(ge=0, le=3_600)] = 1.0
    min_s: Positive = 4.0
    max_s: Positive = 30.0
    within: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Half the 95 % interval over the value."""
    of: Literal["ttft", "tpot", "latency"] = "ttft"
    percentile: str = "p50"

    @field_validator("percentile")
    @classmethod
    def _known(cls, name: str) -> str:
        percentiles.share(name)
        return name

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_s > self.max_s:
            raise ValueError(f"min_s {self.min_s:g} is above max_s {self.max_s:g}")
        return self


class Cell(NamedTuple):
    """One measurement."""

    target: str
    level: float
    """Requests in flight at a time (concurrency), or requests per second (rate)."""
    input_tokens: int
    output_tokens: int
    repeat: int

    @property
    def key(self) -> str:
        """The phase of its records."""
        return f"{self.target} {self.level:g} in{self.input_tokens} out{self.output_tokens} r{self.repeat}"


class BenchPlan(ProfileSection):
    """A validated plan."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    targets: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,40}$")], Target] = Field(
        min_length=1, max_length=16
    )
    concurrency: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = ()
    """A closed loop of so many users; or give `rate_rps`."""
    rate_rps: tuple[Positive, ...] = ()
    """An open loop: Poisson arrivals."""
    input_tokens: tuple[Tokens, ...] = (128,)
    output_tokens: tuple[Tokens, ...] = (64,)
    measure: Measure = Measure()
    repeats: Annotated[int, Field(ge=1, le=100)] = 3
    seed: int = 1
    timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0
    goodput: Goodput | None = None
    """A request is good within all of these limits; a load is, when this share of its requests is."""
    demand_rps: Positive | None = None
    """The rate that the replicas have to take together, at the goodput limits."""

    @model_validator(mode="after")
    def _grid(self) -> Self:
        if bool(self.concurrency) == bool(self.rate_rps):
            raise ValueError("give concurrency (a closed loop) or rate_rps (an open one), and not both")
        for name in ("concurrency", "rate_rps", "input_tokens", "output_tokens"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name}: found a value twice in {list(getattr(self, name))}")
        axes = (self.targets, self.concurrency or self.rate_rps, self.input_tokens, self.output_tokens)
        if (cells := self.repeats * math.prod(map(len, axes))) > MOST_CELLS:  # counted, not made
            raise ValueError(f"{cells:,} measurements; the limit is {MOST_CELLS:,}: use fewer values or repeats")
        return self

    @property
    def load(self) -> str:
        """The name of the load axis."""
        return "concurrency" if self.concurrency else "rate_rps"

    @property
    def longest_s(self) -> float:
        """The longest time that all measurements take, without starts and in-flight requests at their ends."""
        return len(self.cells()) * (self.measure.warmup_s + self.measure.max_s)

    def cells(self) -> list[Cell]:
        """Return every measurement in its random order: the whole grid, then the whole grid again for each repeat."""
        grid = list(product(self.targets, self.concurrency or self.rate_rps, self.input_tokens, self.output_tokens))
        ordered = []
        for repeat in range(1, self.repeats + 1):
            block = [Cell(target, float(level), i, o, repeat) for target, level, i, o in grid]
            random.Random(f"{self.seed} {repeat}").shuffle(block)
            ordered += block
        return ordered


def load(path: Path) -> BenchPlan:
    """Return the plan in the YAML file at `path`; raise ProfileError with a line per problem."""
    try:
        document: Any = core_schema.load(core_schema.read(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(document, dict):
        raise ProfileError(f"{path}: found {type(document).__name__}, expected the keys of a benchmark plan")
    try:
        return BenchPlan.model_validate({"name": path.stem, **document})
    except ValidationError as error:
        problems = [_problem(path, detail) for detail in error.errors(include_url=False)]
        raise ProfileError(mistakes.listed(problems)) from None


def _problem(path: Path, detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"]) or "(top level)"
    if detail["type"] == "extra_forbidden":
        return f"{path}: {key}: unknown key; a plan has: {', '.join(BenchPlan.model_fields)}"
    return f"{path}: {key}: {detail['msg']}"
