"""A profile says what to deploy, where, and within which limits: frozen, validated, refused early.

`load` reads `runbook/profiles/<name>.yaml`, lays it over the profile that it `extends`, and checks all of it.
Whatever is wrong is raised as one `ProfileError` that names the file, the key, what was found and what was
expected, before anything starts.
"""

from tailrace.profile.models import (
    EdgeSettings,
    GateLimits,
    Health,
    Probe,
    Profile,
    ProviderSettings,
    ResourceLimits,
    RolloutSettings,
    Service,
    Simulator,
    Slo,
    Warmup,
)
from tailrace.profile.reader import load

__all__ = [
    "EdgeSettings",
    "GateLimits",
    "Health",
    "Probe",
    "Profile",
    "ProviderSettings",
    "ResourceLimits",
    "RolloutSettings",
    "Service",
    "Simulator",
    "Slo",
    "Warmup",
    "load",
]
