"""What an operator says to a deployment on the command line: deploy, look, go back, go on, hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tailrace.deploy import Release
    from tailrace.testbed.stack import Stack


def deploy(stack: Stack, release: Release, tell: Callable[[str, int, str], None]) -> dict[str, Any]:
    """Have `release` serve: bring it up, switch to it, or leave it as it is when it serves already.

    Raises what `Deployment.up` and `Deployment.switch` raise; traffic is then where it was.
    """
    deployment = stack.deployment
    serving = deployment.serving
    if serving is None:
        deployment.up(release, environment=stack.environment(), observe=tell)
        how = "brought up"
    elif serving.release == release.id:
        # Its edge may have died meanwhile.
        deployment.up(release, environment=stack.environment(), observe=tell)
        how = "served already"
    else:
        deployment.switch(release, environment=stack.environment(), observe=tell)
        how = "switched"
    now = deployment.status()
    return {
        "result": how, "release": release.id, "serving": now.serving, "url": now.url, "generation": now.generation,
        "paused": now.paused,
    }  # fmt: skip
