"""A profile says what to deploy, where, and within which limits: frozen, validated, refused early.

`load` reads `runbook/profiles/<name>.yaml`, lays it over the profile that it `extends`, and checks all of it.
Whatever is wrong is raised as one `ProfileError` that names the file, the key, what was found and what was
expected, before anything starts.
"""

from tailrace.profile.loading import load
from tailrace.profile.models import (
    Edge,
    Gate,
    Health,
    Limits,
    Probe,
    Profile,
    Provider,
    Rollout,
    Service,
    Simulator,
    Slo,
    Warmup,
)

__all__ = [
    "Edge",
    "Gate",
    "Health",
    "Limits",
    "Probe",
    "Profile",
    "Provider",
    "Rollout",
    "Service",
    "Simulator",
    "Slo",
    "Warmup",
    "load",
]
