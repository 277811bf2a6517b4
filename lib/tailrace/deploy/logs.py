"""The logs of a deployment: which one is meant, and its lines, bounded and harmless to a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tailrace.errors import DeployError
from tailrace.host import excerpts

if TYPE_CHECKING:
    from tailrace.deploy.deployment import Deployment

LINE_BYTES = 16_384
EDGE, PROVIDER = "edge", "provider"
_INSTANCE = re.compile(r"(blue|green)-(\d+)")


@dataclass(frozen=True)
class Wanted:
    """Which log: that of a `part` ("edge", "provider"), or of an instance, by its colour or "": what serves."""

    part: str = ""
    colour: str = ""
    previous: bool = False
    """The one that was started before it, of that colour if one is given."""


def name(deployment: Deployment, wanted: Wanted) -> str:
    """Return the name of the log that is meant; raises DeployError when there is none."""
    names = deployment.engine.logs(deployment.profile.name)
    if wanted.part:
        return _found(deployment, wanted.part if wanted.part in names else "", f"the {wanted.part}", names)
    started = sorted((int(match[2]), each) for each in names if (match := _INSTANCE.fullmatch(each)))
    of_colour = [each for _, each in started if each.startswith(wanted.colour)]
    serving = deployment.serving
    chosen = serving.name if serving and serving.name in of_colour else of_colour[-1] if of_colour else ""
    what = f"an instance of {wanted.colour}" if wanted.colour else "an instance"
    if not wanted.previous:
        return _found(deployment, chosen, what, names)
    before = of_colour[: of_colour.index(chosen)] if chosen else []
    return _found(deployment, before[-1] if before else "", f"{what} before {chosen or 'that'}", names)


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the lines of an output as text that a terminal can show; one of more than `LINE_BYTES` is cut."""
    held, size = b"", 0
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            yield _shown(held + part[: LINE_BYTES - len(held)], size + len(part))
            held, size = b"", 0
        held, size = held + rest[: LINE_BYTES - len(held)], size + len(rest)
    if size:
        yield _shown(held, size)


def _shown(line: bytes, size: int) -> str:
    text = line.decode("utf-8", "replace").removesuffix("\r")
    return excerpts.harmless(excerpts.shortened(text, LINE_BYTES, size))


def _found(deployment: Deployment, found: str, what: str, names: list[str]) -> str:
    if not found:
        reason = deployment.engine.lacks.get("earlier logs", "")
        known = "; there are logs of: " + (", ".join(names) or "nothing yet")
        raise DeployError(f"{deployment.profile.name}: no log of {what}{known}" + (f". {reason}" if reason else ""))
    return found
