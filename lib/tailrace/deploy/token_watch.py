"""Read a colour's own metrics in the background while it is watched: a slow page delays no other half of the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tailrace.deploy import token_gate
from tailrace.deploy.engines import Instance
from tailrace.deploy.token_gate import TokenLimit
from tailrace.host import scrape
from tailrace.host.sampling import Sampler
from tailrace.host.scrape import MetricsPage
from tailrace.profile import Acceptance, GateLimits, Profile
from tailrace.server_metrics import Reading

NOTHING = Reading(0, why="the profile names no path under service.metrics")


def limits(profile: Profile) -> tuple[TokenLimit, ...]:
    """Return what the instances of `profile` are held to by their own metrics."""
    return token_gate.limits(profile.slo.objectives)


def page(asked: Acceptance, instance: Instance | None) -> MetricsPage | None:
    """Return where an instance tells its metrics: a path of its own; a URL would not tell the two colours apart."""
    if instance is None or not asked.metrics.startswith("/"):
        return None
    names: dict[str, tuple[str, ...]] = {str(measure): names for measure, names in asked.metric_names.items()}
    return MetricsPage(instance.url + asked.metrics, names, asked.headers)


def read(profile: Profile, page: MetricsPage | None) -> Reading:
    """Return what the page of an instance says of its tokens now; nothing where nothing is limited."""
    return scrape.read(page) if page and limits(profile) else NOTHING


@dataclass
class TokenWatch:
    """What the page of the `new` colour says of its tokens while the gate watches it, beside `old` where both serve.

    `baseline` is what the old one said before.
    """

    profile: Profile
    new: MetricsPage | None
    old: MetricsPage | None = None
    baseline: Reading | None = None
    limits: tuple[TokenLimit, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.limits = limits(self.profile)
        self._samplers: dict[str, Sampler[Reading]] = {}
        self._opened: Reading | None = None

    @property
    def _gate(self) -> GateLimits:
        return self.profile.rollout.gate

    def __enter__(self) -> Self:
        if self.limits:
            self._sample("new", self.new)
            self._sample("old", self.old)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sampler in self._samplers.values():
            sampler.stop(2 * scrape.TIMEOUT_S)

    def breach(self) -> str:
        """Return how the window that ends now breaks a limit; one with too few values stays open."""
        latest = self._latest("new")
        if latest is None or latest is self._opened:
            return ""
        window = latest.since(self._opened or self._first("new"))
        if any(times.count >= self._gate.min_requests for times in window.times.values()):
            self._opened = latest
        return self._breach(window)

    def whole_breach(self) -> str:
        """Return how the whole time of the watch breaks a limit: its windows may all have been too short."""
        return self._breach(self._whole()) if self.limits else ""

    def judged(self) -> str:
        """Return, for the journal, what was judged by the service's own metrics and what was not."""
        return token_gate.judged(self._whole(), self.limits, self._gate.min_requests) if self.limits else ""

    def _breach(self, window: Reading) -> str:
        return token_gate.breach(window, self._side_by_side() or self.baseline, self.limits, self._gate.min_requests)

    def _whole(self) -> Reading:
        latest, first = self._latest("new"), self._first("new")
        return latest.since(first) if latest and first else latest or NOTHING

    def _side_by_side(self) -> Reading | None:
        latest, first = self._latest("old"), self._first("old")
        return latest.since(first) if latest and first else None

    def _sample(self, name: str, page: MetricsPage | None) -> None:
        if page:
            read: Callable[[], Reading] = lambda: scrape.read(page)  # noqa: E731
            self._samplers[name] = Sampler(read, max(0.25, self._gate.window_s / 2)).start()

    def _latest(self, name: str) -> Reading | None:
        return self._samplers[name].latest if name in self._samplers else None

    def _first(self, name: str) -> Reading | None:
        """Return the first reading that says something: a page may not be there yet when the watch begins."""
        samples = self._samplers[name].samples if name in self._samplers else []
        return next((reading for reading in samples if not reading.why), None)
