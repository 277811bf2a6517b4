"""Is an image what it claims to be: hardened, lean, free of credentials, and the same from the same source?"""

from __future__ import annotations

import pandas as pd

from tailrace.checks import ingredients
from tailrace.deploy import Release, modules
from tailrace.deploy.build import LOCK, SERVICE
from tailrace.testbed.candidates import NOWHERE
from tailrace.testbed.provider import Provider
from tailrace.testbed.stack import Stack
from tailrace.verdict import Check


def contents(stack: Stack, release: Release) -> pd.DataFrame:
    """Return a row per package of our image, or per layer of another one, the largest first."""
    images = stack.deployment.engine.images()
    if release.ours:
        rows = [(name, version, size / 1e6) for name, version, size in images.packages(release)]
        table = pd.DataFrame(rows, columns=["package", "version", "megabytes"])
    else:
        made = [(command[:100], size / 1e6) for command, size in images.layers(release)]
        table = pd.DataFrame(made, columns=["layer", "megabytes"])
    return table.sort_values("megabytes", ascending=False, ignore_index=True)


def checks(stack: Stack, release: Release, max_size_mb: float) -> list[Check]:
    """Have the image run, broken and searched; ours is built once more. `max_size_mb` is for what is above its base."""
    made = _ours(stack, release) if release.ours else _yours(release)
    environment = stack.environment(Provider(NOWHERE, NOWHERE))
    proved = stack.deployment.engine.images().checks(release, environment, max_size_mb)
    return [*made, ingredients.no_credential(release.environment, ()), *proved]


def same(stack: Stack, release: Release) -> Check:
    """Decide whether building once more, without any layer of the first build, gave the same content.

    Compared are names, modes and bytes of all that is put into it: an image's own digest holds the time of its
    making, too.
    """
    found, expected = stack.deployment.engine.images().rebuild(release)
    fact = f"built again from nothing: content sha256 {found[:16]}…, the release's is {expected[:16]}…"
    return Check("same source, same content", found == expected, fact)


def _ours(stack: Stack, release: Release) -> list[Check]:
    packages = {name: version for name, version, _ in stack.deployment.engine.images().packages(release)}
    lock = (stack.root / LOCK).read_text(encoding="utf-8")
    held = [name for name in map(ingredients.module, stack.deployment.engine.images().files(release)) if name]
    needed = modules.needed(stack.root / "lib", SERVICE)
    return [same(stack, release), ingredients.locked(packages, lock), ingredients.lean(packages, held, needed)]


def _yours(release: Release) -> list[Check]:
    why = f"{release.facts['dockerfile'] or 'the image'} is yours: what it holds, and whether it repeats, is up to you"
    return [Check.skip(name, why) for name in ("same source, same content", "holds only what the service needs")]
