"""Is an image what it claims to be: hardened, lean, free of credentials, and the same from the same source?"""

from __future__ import annotations

import pandas as pd

from tailrace.checks import ingredients
from tailrace.deploy import Release
from tailrace.deploy.build import LOCK
from tailrace.deploy.engines.docker.engine import EVERYWHERE
from tailrace.deploy.images import hardening, image, layers
from tailrace.deploy.release import filled
from tailrace.testbed.candidates import NOWHERE
from tailrace.testbed.provider import Provider
from tailrace.testbed.stack import Stack
from tailrace.verdict import Check


def contents(stack: Stack, release: Release) -> pd.DataFrame:
    """Return a row per package of our image, or per layer of another one, the largest first."""
    client = stack.containers.client
    if release.ours:
        rows = [(name, version, size / 1e6) for name, version, size in layers.packages(client, release.build)]
        table = pd.DataFrame(rows, columns=["package", "version", "megabytes"])
    else:
        made = [(command[:100], size / 1e6) for command, size in layers.parts(client, release.build)]
        table = pd.DataFrame(made, columns=["layer", "megabytes"])
    return table.sort_values("megabytes", ascending=False, ignore_index=True)


def checks(stack: Stack, release: Release, max_size_mb: float) -> list[Check]:
    """Have the image run, broken and searched; ours is built once more. `max_size_mb` is for what is above its base."""
    command = filled(release.command, host=EVERYWHERE, port=str(release.facts["port"]))
    told = {**release.environment, **stack.environment(Provider(NOWHERE, NOWHERE))}
    base = str(release.facts["base"])
    subject = hardening.Image(stack.containers.client, release.build, base, told, command, max_size_mb)
    made = _ours(stack, release) if release.ours else _yours(release)
    proved = [Check(proof.name, proof.ok, proof.fact) for proof in hardening.prove(subject)]
    return [*made, ingredients.no_credential(release.environment, ()), *proved]


def same(stack: Stack, release: Release) -> Check:
    """Decide whether building once more, without any layer of the first build, gave the same content.

    Compared are names, modes and bytes of all that is put into it: an image's own digest holds the time of its
    making, too.
    """
    engine = stack.containers
    again = image.again(engine.client, stack.root, engine.home)
    try:
        found, expected = (hardening.content_digest(engine.client, id) for id in (again, release.build))
    finally:
        engine.client.images.remove(again, force=True)
    fact = f"built again from nothing: content sha256 {found[:16]}…, the release's is {expected[:16]}…"
    return Check("same source, same content", found == expected, fact)


def _ours(stack: Stack, release: Release) -> list[Check]:
    found = layers.packages(stack.containers.client, release.build)
    packages = {name: version for name, version, _ in found}
    lock = (stack.root / LOCK).read_text(encoding="utf-8")
    return [same(stack, release), ingredients.locked(packages, lock), ingredients.lean(packages)]


def _yours(release: Release) -> list[Check]:
    why = f"{release.facts['dockerfile'] or 'the image'} is yours: what it holds, and whether it repeats, is up to you"
    return [Check.skip(name, why) for name in ("same source, same content", "holds only what the service needs")]
