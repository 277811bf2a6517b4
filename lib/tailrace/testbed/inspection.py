"""Inspect a release: list what it contains, build it once more, and search and run it when it is an image."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import pandas as pd

from tailrace.deploy import Release, modules
from tailrace.deploy.build import LOCK, SERVICE, wheel
from tailrace.deploy.engines import Images
from tailrace.deploy.inspection import Inspection
from tailrace.testbed.candidates import NOWHERE
from tailrace.testbed.provider import Provider
from tailrace.testbed.stack import Stack


def contents(stack: Stack, release: Release) -> pd.DataFrame:
    """Return a row per package of the release, the largest first: package, version, megabytes.

    An image that is not ours has a row per layer; a command of the user's, which is taken as it is, has none.
    """
    if release.kind == "image":
        return _image_contents(stack.deployment.engine.images(), release)
    places = [str(path) for path in Path(release.facts.get("folder", ".")).glob("env/lib/python*/site-packages")]
    packages = metadata.distributions(path=places)
    rows = [(package.name, package.version, _size_bytes(package) / 1e6) for package in packages]
    table = pd.DataFrame(rows, columns=["package", "version", "megabytes"])
    return table.sort_values("megabytes", ascending=False, ignore_index=True)


def inspect(stack: Stack, release: Release, max_size_mb: float) -> Inspection:
    """Return the evidence about `release`; an image is run, too, with a budget of `max_size_mb` above its base."""
    if release.kind == "image":
        return _image(stack, release, max_size_mb)
    if release.kind == "command":
        return Inspection()
    with tempfile.TemporaryDirectory() as folder:
        again = wheel(stack.root, Path(folder))
        shipped = texts(again)
        return Inspection(
            packages=release.facts["packages"],
            lock=(stack.root / LOCK).read_text(encoding="utf-8"),
            digest=str(release.facts["wheel_sha256"]),
            rebuilt_digest=hashlib.sha256(again.read_bytes()).hexdigest(),
            files=[name for name, _ in shipped],
            imported=_imported(stack),
            texts=shipped,
        )


def texts(archive: Path) -> list[tuple[str, str]]:
    """Return the name and the text of each file of a wheel."""
    with zipfile.ZipFile(archive) as files:
        return [(name, files.read(name).decode("utf-8", "replace")) for name in files.namelist()]


def _image_contents(images: Images, release: Release) -> pd.DataFrame:
    if release.ours:
        rows = [(name, version, size / 1e6) for name, version, size in images.packages(release)]
        table = pd.DataFrame(rows, columns=["package", "version", "megabytes"])
    else:
        layers = [(command[:100], size / 1e6) for command, size in images.layers(release)]
        table = pd.DataFrame(layers, columns=["layer", "megabytes"])
    return table.sort_values("megabytes", ascending=False, ignore_index=True)


def _image(stack: Stack, release: Release, max_size_mb: float) -> Inspection:
    images = stack.deployment.engine.images()
    hardening = images.checks(release, stack.environment(Provider(NOWHERE, NOWHERE)), max_size_mb)
    if not release.ours:
        return Inspection(hardening=hardening)
    rebuilt, shipped = images.rebuild(release)
    return Inspection(
        packages={name: version for name, version, _ in images.packages(release)},
        lock=(stack.root / LOCK).read_text(encoding="utf-8"),
        files=images.files(release),
        imported=_imported(stack),
        digest=shipped,
        rebuilt_digest=rebuilt,
        hardening=hardening,
    )


def _imported(stack: Stack) -> list[str]:
    return list(modules.needed(stack.root / "lib", SERVICE))


def _size_bytes(package: metadata.Distribution) -> int:
    return sum(file.size or 0 for file in package.files or ())
