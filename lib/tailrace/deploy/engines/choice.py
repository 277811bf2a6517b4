"""The one place that picks an engine: by the name in the profile, which is the name of its folder."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from tailrace.deploy import engines
from tailrace.errors import ProfileError
from tailrace.host import files
from tailrace.profile.mistakes import near

if TYPE_CHECKING:
    from tailrace.deploy.engines import Capability, Engine
    from tailrace.profile import Profile


class Folder(Protocol):
    """The package of one engine."""

    LACKS: Mapping[Capability, str]

    def create(self, profile: Profile, home: Path, fault: Callable[[str], None]) -> Engine: ...


def names() -> list[str]:
    """Return the names of all engines."""
    return sorted(module.name for module in pkgutil.iter_modules(engines.__path__) if module.ispkg)


def create(profile: Profile, home: Path, fault: Callable[[str], None] = files.nothing) -> Engine:
    """Return the engine of `profile`, with its state in `home`; raises ProfileError, PartMissing.

    A profile is refused when there is no such engine, or when it has an image that the engine cannot run.
    """
    lacking = lacks(profile)
    if "images" in lacking and (profile.service.image or profile.service.dockerfile):
        able = " or ".join(name for name in names() if "images" not in _folder(name).LACKS)
        raise ProfileError(
            f"profile {profile.name}: service.image and service.dockerfile need engine: {able}; "
            f"found engine: {profile.engine} ({lacking['images']})"
        )
    return _folder(profile.engine).create(profile, home, fault)


def lacks(profile: Profile) -> Mapping[Capability, str]:
    """Return what the engine of `profile` cannot do, each with the reason; raises ProfileError."""
    if profile.engine not in names():
        expected = " or ".join(map(repr, names()))
        hint = near(profile.engine, names())
        raise ProfileError(f"profile {profile.name}: engine: found {profile.engine!r}; expected {expected}{hint}")
    return _folder(profile.engine).LACKS


def _folder(name: str) -> Folder:
    return cast("Folder", importlib.import_module(f"{engines.__name__}.{name}"))
