"""Is a release what it claims to be: the same from the same source, lean, free of credentials, within its budget?"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from tailrace.checks import ingredients
from tailrace.deploy import Release
from tailrace.deploy import modules as deploy_modules
from tailrace.deploy.build import LOCK, SERVICE, wheel
from tailrace.testbed.stack import Stack
from tailrace.verdict import Check


def contents(stack: Stack, release: Release) -> pd.DataFrame:
    """Return a row per package of the release, the largest first: package, version, megabytes.

    Of an image that is not ours, a row per layer. None for a command of the user's, which is taken as it is.
    """
    if release.kind == "image":
        from tailrace.checks import image  # only here: the SDK takes a while to import

        return image.contents(stack, release)
    places = [str(path) for path in Path(release.facts.get("folder", ".")).glob("env/lib/python*/site-packages")]
    rows = [(found.name, found.version, _size_bytes(found) / 1e6) for found in metadata.distributions(path=places)]
    table = pd.DataFrame(rows, columns=["package", "version", "megabytes"])
    return table.sort_values("megabytes", ascending=False, ignore_index=True)


def digests(release: Release) -> dict[str, str]:
    """Return what is shipped, by the digest of what it contains: an image each of service and edge, or the release."""
    if release.kind == "image":
        return {"service": release.build, "edge": str(release.facts["edge"])}
    return {release.kind: release.build}


def summary(release: Release) -> dict[str, Any]:
    """Return what there is to know of a release in one line."""
    counted = {"packages": len(release.facts["packages"])} if "packages" in release.facts else {}
    known = {
        "size_mb": round(release.facts.get("size_bytes", 0) / 1e6, 1),
        **counted,
        "built_in_s": release.facts.get("seconds"),
        "reused": release.facts.get("reused"),
    }
    return {"id": release.id, "kind": release.kind, "build": release.build[:16], **known}


def checks(stack: Stack, release: Release, max_size_mb: float) -> list[Check]:
    """Return the checks of an image, or of a built environment; a command of the user's is taken as it is.

    `max_size_mb` is what it may have; an image, above the one that it was made from.
    """
    if release.kind == "image":
        from tailrace.checks import image  # only here: the SDK takes a while to import

        return image.checks(stack, release, max_size_mb)
    if release.kind == "command":
        why = "the command is taken as it is: tailrace did not build it"
        left_out = ("same source, same bytes", "holds only what the service needs", "within its size budget")
        return [
            *(Check.skip(name, why) for name in left_out),
            Check("a release of its own", True, f"release {release.id} is the command and its settings"),
            ingredients.no_credential(release.environment, ()),
        ]
    with tempfile.TemporaryDirectory() as folder:
        again = wheel(stack.root, Path(folder))
        return [
            same(again, str(release.facts["wheel_sha256"])),
            ingredients.locked(release.facts["packages"], (stack.root / LOCK).read_text(encoding="utf-8")),
            ingredients.lean(release.facts["packages"], modules(again), needed(stack.root)),
            ingredients.no_credential(release.environment, texts(again)),
            within(int(release.facts["size_bytes"]), max_size_mb),
        ]


def same(again: Path, expected_sha256: str) -> Check:
    """Decide whether building once more from the same source gave the same bytes."""
    found = hashlib.sha256(again.read_bytes()).hexdigest()
    fact = f"built again: sha256 {found[:16]}…, the release's is {expected_sha256[:16]}…"
    return Check("same source, same bytes", found == expected_sha256, fact)


def modules(archive: Path) -> list[str]:
    """Return the names of the modules in a wheel of tailrace."""
    with zipfile.ZipFile(archive) as files:
        return [name for name in map(ingredients.module, files.namelist()) if name]


def needed(root: Path) -> list[str]:
    """Return the names of the modules that the service imports, in the project at `root`."""
    return list(deploy_modules.needed(root / "lib", SERVICE))


def texts(archive: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each file of a wheel."""
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            yield name, files.read(name).decode("utf-8", "replace")


def within(size_bytes: int, max_size_mb: float) -> Check:
    """Decide whether the release keeps its size budget."""
    size_mb = size_bytes / 1e6
    return Check("within its size budget", size_mb <= max_size_mb, f"{size_mb:.1f} MB of {max_size_mb:g} MB")


def _size_bytes(found: metadata.Distribution) -> int:
    return sum(file.size or 0 for file in found.files or ())
