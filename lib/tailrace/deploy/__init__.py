"""Blue-green deployment: releases, the engines that run them, the edge in front, and the switch between two."""

from tailrace.deploy.deployment import Deployment
from tailrace.deploy.edge import ColourCounters, Counters
from tailrace.deploy.engines import Instance
from tailrace.deploy.health import Observation, Target, Watch, probe, watch
from tailrace.deploy.journal import JournalEntry
from tailrace.deploy.release import Release
from tailrace.deploy.rollout import Switched
from tailrace.deploy.status import SlotStatus, Status

__all__ = [
    "ColourCounters",
    "Counters",
    "Deployment",
    "Instance",
    "JournalEntry",
    "Observation",
    "Release",
    "SlotStatus",
    "Status",
    "Switched",
    "Target",
    "Watch",
    "probe",
    "watch",
]
