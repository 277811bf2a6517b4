"""Does a release contain only what is pinned and needed, and no credential?"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from tailrace import credentials
from tailrace.verdict import Check

NOT_NEEDED = ("ipykernel", "jupyterlab", "matplotlib", "numpy", "pandas", "papermill", "pyarrow")
"""Packages that the runbook needs, and a service that answers requests does not."""


def locked(packages: Mapping[str, str], lock: str) -> Check:
    """Decide whether what is installed is what the lock pins, package by package."""
    pins = {_name(name): version for name, version in re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;]+)", lock)}
    installed = {_name(name): version for name, version in packages.items() if name != "tailrace"}
    other = [f"{name} {version}" for name, version in installed.items() if pins.get(name) != version]
    fact = f"{len(installed) - len(other)} of {len(installed)} packages are the pinned ones"
    return Check("holds the pinned packages", not other, fact + (f"; others: {', '.join(other)}" if other else ""))


def lean(packages: Iterable[str], modules: Collection[str], imported: Collection[str]) -> Check:
    """Decide whether the runbook stayed out of the service: its tools, and the modules that a service never imports.

    `modules` are the modules of tailrace in the release, `imported` those that the service imports.
    """
    unneeded = sorted({_name(name) for name in packages} & set(NOT_NEEDED)) + sorted(set(modules) - set(imported))
    fact = f"{len(set(packages))} packages, {len(set(modules))} modules of tailrace; "
    fact += f"not needed: {', '.join(unneeded)}" if unneeded else "no notebook, no data frame, no module unused"
    return Check("holds only what the service needs", bool(modules) and not unneeded, fact)


def modules(files: Iterable[str]) -> list[str]:
    """Return the names of the modules of tailrace ("tailrace.errors") among the paths of files in a release."""
    matches = (re.search(r"(?:^|/)(tailrace(?:/\w+)*?)(?:/__init__)?\.py$", path) for path in files)
    return [match[1].replace("/", ".") for match in matches if match]


def no_credential(settings: Mapping[str, str], files: Iterable[tuple[str, str]]) -> Check:
    """Decide whether a setting or a file of the release looks like a credential."""
    read, found = 0, []
    for where, text in [*((f"setting {name}", value) for name, value in settings.items()), *files]:
        read += 1
        found += [f"{finding.kind} in {where}" for finding in credentials.find(text)]
    fact = f"{read} settings and files read; " + (", ".join(found) if found else "none looks like one")
    return Check("no credential in the release", not found, fact)


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
