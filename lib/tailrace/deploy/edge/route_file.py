"""The route file: which colour gets which share of the traffic. Its rename is the switch.

Pure functions from routes to YAML, and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tailrace.deploy.edge.envoy import TYPE, Document, discovered, header
from tailrace.errors import EdgeRejected
from tailrace.headers import COLOUR, GENERATION

COLOURS = ("blue", "green")


@dataclass(frozen=True)
class Routes:
    """The share of the traffic that each colour gets, in percent; a higher `generation` is a later decision."""

    generation: int
    weights: Mapping[str, int]
    hold_s: float = 0.0
    """How long a request is held for a paused colour; 0 when none is paused."""

    @property
    def serving(self) -> str:
        """The colour with the larger share."""
        return max(COLOURS, key=lambda colour: self.weights.get(colour, 0))


def other(colour: str) -> str:
    """Return the colour that `colour` is not."""
    return "green" if colour == "blue" else "blue"


def document(routes: Routes) -> str:
    """Return the content of the route file."""
    # Only a request that never reached an instance is retried: no started completion is replayed.
    retry: Document = {"retry_on": "connect-failure", "num_retries": 2}
    if routes.hold_s:
        retry |= {"num_retries": max(4, round(routes.hold_s / 0.05)),
                  "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.1s"}}  # fmt: skip
    shares = [
        {"name": colour, "weight": weight, "response_headers_to_add": [header(COLOUR, colour, "ADD_IF_ABSENT")]}
        for colour, weight in sorted(routes.weights.items()) if weight
    ]  # fmt: skip
    action = {"weighted_clusters": {"clusters": shares}, "timeout": "0s", "retry_policy": retry}
    return discovered(
        {
            "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
            "name": "ingress",
            # Otherwise a route to an unknown cluster is accepted, and every answer is a 503.
            "validate_clusters": True,
            # In the content, not only in `version_info`: Envoy ignores an update with identical content.
            "response_headers_to_add": [header(GENERATION, str(routes.generation), "OVERWRITE_IF_EXISTS_OR_ADD")],
            "virtual_hosts": [
                {"name": "ingress", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}
            ],
        },
        version=routes.generation,
    )


def read(path: Path) -> Routes:
    """Return the routes in the file at `path`; raises EdgeRejected unless `document` could have written it.

    Envoy ignores a malformed file while it runs, and answers 404 to everything when it starts on one.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        resource = found["resources"][0]
        action = resource["virtual_hosts"][0]["routes"][0]["route"]
        weights = {share["name"]: int(share["weight"]) for share in action["weighted_clusters"]["clusters"]}
        parsed = Routes(int(found["version_info"]), weights, _hold_s(action["retry_policy"]))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EdgeRejected(f"{path} is not a route file ({type(error).__name__}: {reason}); run `resume`") from None
    if yaml.safe_load(document(parsed)) != found or not set(weights) <= set(COLOURS) or sum(weights.values()) != 100:
        raise EdgeRejected(f"{path} was not written by tailrace (weights {weights}); run `resume` to write it anew")
    return parsed


def _hold_s(policy: Document) -> float:
    return round(policy["num_retries"] * 0.05, 3) if "retry_back_off" in policy else 0.0
