"""The profile: what to deploy, where, and within which limits. Frozen, and validated before anything starts.

`load` reads `runbook/profiles/<name>.yaml`, merges it into the profile that it `extends`, and validates the result.
Everything that is wrong is raised as one `ProfileError`, which names the file, the key, the value that was found and
what was expected.
"""

from tailrace.profile.edge import EdgeSettings, Tls
from tailrace.profile.models import (
    GateLimits,
    Profile,
    ProviderSettings,
    ResourceLimits,
    RolloutSettings,
    Simulator,
    Warmup,
)
from tailrace.profile.reader import load
from tailrace.profile.rollout import Canary, Hook, Hooks
from tailrace.profile.service import Acceptance, Health, Probe, Protocol, ProviderEnv, Service
from tailrace.profile.slo import Slo

__all__ = [
    "Acceptance",
    "Canary",
    "EdgeSettings",
    "GateLimits",
    "Health",
    "Hook",
    "Hooks",
    "Probe",
    "Profile",
    "Protocol",
    "ProviderEnv",
    "ProviderSettings",
    "ResourceLimits",
    "RolloutSettings",
    "Service",
    "Simulator",
    "Slo",
    "Tls",
    "Warmup",
    "load",
]
