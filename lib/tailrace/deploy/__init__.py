"""Blue-green deployment: releases, the engines that run them, the edge in front, and the switch between two."""

from tailrace.deploy.deployment import Deployment
from tailrace.deploy.edge import ColourCounters, Counters
from tailrace.deploy.engines import Instance
from tailrace.deploy.health import Observation, Watch, probe, watch
from tailrace.deploy.journal import Event
from tailrace.deploy.release import Release
from tailrace.deploy.status import SlotStatus, Status
from tailrace.deploy.transition import Switched

__all__ = [
    "ColourCounters",
    "Counters",
    "Deployment",
    "Event",
    "Instance",
    "Observation",
    "Release",
    "SlotStatus",
    "Status",
    "Switched",
    "Watch",
    "probe",
    "watch",
]
