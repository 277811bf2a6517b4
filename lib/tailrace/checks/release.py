"""Is a release what it claims to be: the same from the same source, lean, free of credentials, within its budget?"""

from __future__ import annotations

from typing import Any

from tailrace.checks import ingredients
from tailrace.deploy import Release
from tailrace.deploy.inspection import Inspection
from tailrace.verdict import Check


def digests(release: Release) -> dict[str, str]:
    """Return what is shipped, by the digest of its content: an image each of service and edge, or the release."""
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


def checks(release: Release, inspection: Inspection, max_size_mb: float) -> list[Check]:
    """Return the checks of an image, or of a built environment; a command of the user's is taken as it is.

    `max_size_mb` bounds an environment; the size of an image was judged by its inspection.
    """
    if release.kind == "command":
        return _command(release)
    no_credential = ingredients.no_credential(release.environment, inspection.texts)
    if release.kind == "image":
        ours = _contents(inspection, "content") if release.ours else _not_ours(release)
        return [*ours, no_credential, *inspection.hardening]
    size = within_budget(int(release.facts["size_bytes"]), max_size_mb)
    return [*_contents(inspection, "bytes"), no_credential, size]


def reproducible(inspection: Inspection, compared: str) -> Check:
    """Decide whether building once more from the same source gave the same `compared` ("bytes" or "content")."""
    fact = (
        f"built again from nothing: sha256 {inspection.rebuilt_digest[:16]}…, "
        f"the release's is {inspection.digest[:16]}…"
    )
    ok = inspection.rebuilt_digest == inspection.digest if inspection.digest else None
    return Check(f"same source, same {compared}", ok, fact)


def within_budget(size_bytes: int, max_size_mb: float) -> Check:
    """Decide whether the release keeps its size budget."""
    size_mb = size_bytes / 1e6
    return Check("within its size budget", size_mb <= max_size_mb, f"{size_mb:.1f} MB of {max_size_mb:g} MB")


def _contents(inspection: Inspection, compared: str) -> list[Check]:
    return [
        reproducible(inspection, compared),
        ingredients.locked(inspection.packages, inspection.lock),
        ingredients.lean(inspection.packages, ingredients.modules(inspection.files), inspection.imported),
    ]


def _command(release: Release) -> list[Check]:
    why = "the command is run as it is: tailrace did not build it"
    files = release.facts.get("files", 0)
    names = ("same source, same bytes", "holds only what the service needs", "within its size budget")
    return [
        *(Check.skip(name, why) for name in names),
        Check(
            "named by its content", True, f"release {release.id} is the command, its settings and its files ({files})"
        ),
        ingredients.no_credential(release.environment, ()),
    ]


def _not_ours(release: Release) -> list[Check]:
    why = f"{release.facts['dockerfile'] or 'the image'} is yours: so is what it contains, and whether it repeats"
    return [Check.skip(name, why) for name in ("same source, same content", "holds only what the service needs")]
