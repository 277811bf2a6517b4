"""The route file: which colour gets which requests. Its rename is the switch.

Pure functions from routes to YAML, and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from tailrace.deploy.edge import maintenance
from tailrace.deploy.edge.envoy import TYPE, Document, discovered, header, parsed
from tailrace.deploy.edge.maintenance import MAX_PAGE_BYTES, Maintenance
from tailrace.errors import EdgeRejected
from tailrace.headers import COLOUR, GENERATION

COLOURS = ("blue", "green")
DOOR = "tailrace.door"
"""What a listener may tell its routes: through the door `probe`, the colours answer during a maintenance, too."""


@dataclass(frozen=True)
class CanaryRoute:
    """Requests with this header or cookie go to `colour`, whatever the weights are."""

    part: Literal["header", "cookie"]
    name: str
    value: str
    colour: str

    def __str__(self) -> str:
        by = ": " if self.part == "header" else "="
        return f"requests with the {self.part} {self.name}{by}{self.value} go to {self.colour}"


@dataclass(frozen=True)
class Routes:
    """The share of the traffic that each colour gets, in percent; a higher `generation` is a later decision."""

    generation: int
    weights: Mapping[str, int]
    hold_s: float = 0.0
    """How long a request is held for a paused colour; 0 when none is paused."""
    canary: CanaryRoute | None = None
    maintenance: Maintenance | None = None
    """What users get in place of a colour's answer."""

    @property
    def serving(self) -> str:
        """The colour with the larger share."""
        return max(COLOURS, key=lambda colour: self.weights.get(colour, 0))

    def reach(self, colour: str) -> bool:
        """Return whether `colour` gets requests: by its weight, or as the canary."""
        return bool(self.weights.get(colour)) or (self.canary is not None and self.canary.colour == colour)


def other(colour: str) -> str:
    """Return the colour that `colour` is not."""
    return "green" if colour == "blue" else "blue"


def document(routes: Routes) -> str:
    """Return the content of the route file."""
    door: Document = {"filter_state": [{"key": DOOR, "string_match": {"exact": "probe"}}]} if routes.maintenance else {}
    found = [{"name": "users", "match": {"prefix": "/", **door}, "route": _action(routes, routes.weights)}]
    if routes.canary:
        action = _action(routes, {routes.canary.colour: 100})
        found.insert(0, {"name": "canary", "match": {"prefix": "/", **door, **_match(routes.canary)}, "route": action})
    if routes.maintenance:
        found += maintenance.routes(routes.maintenance)
    resource = {
        "@type": f"{TYPE}.config.route.v3.RouteConfiguration",
        "name": "ingress",
        # Otherwise a route to an unknown cluster is accepted, and every answer is a 503.
        "validate_clusters": True,
        "max_direct_response_body_size_bytes": MAX_PAGE_BYTES,
        # In the content, not only in `version_info`: Envoy ignores an update with identical content.
        "response_headers_to_add": [header(GENERATION, str(routes.generation), "OVERWRITE_IF_EXISTS_OR_ADD")],
        "virtual_hosts": [{"name": "ingress", "domains": ["*"], "routes": found}],
    }
    return discovered(resource, version=routes.generation)


def read(path: Path) -> Routes:
    """Return the routes in the file at `path`; raises EdgeRejected unless `document` could have written it.

    Envoy ignores a malformed file while it runs, and answers 404 to everything when it starts on one.
    """
    try:
        found = parsed(path.read_text(encoding="utf-8"))
        by_name = {route["name"]: route for route in found["resources"][0]["virtual_hosts"][0]["routes"]}
        action = by_name["users"]["route"]
        weights = {share["name"]: int(share["weight"]) for share in action["weighted_clusters"]["clusters"]}
        routes = Routes(
            int(found["version_info"]), weights, _hold_s(action["retry_policy"]), _canary(by_name.get("canary")),
            maintenance.read(by_name),
        )  # fmt: skip
        written = parsed(document(routes))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EdgeRejected(f"{path} is not a route file ({type(error).__name__}: {reason}); run `resume`") from None
    colours = {*weights, *([routes.canary.colour] if routes.canary else [])}
    if written != found or not colours <= set(COLOURS) or sum(weights.values()) != 100:
        raise EdgeRejected(f"{path} was not written by tailrace (weights {weights}); run `resume` to write it anew")
    return routes


def _action(routes: Routes, weights: Mapping[str, int]) -> Document:
    """Return the way to the colours by these weights."""
    # Only a request that never reached an instance is retried: no started completion is replayed.
    retry: Document = {"retry_on": "connect-failure", "num_retries": 2}
    if routes.hold_s:
        retry |= {"num_retries": max(4, round(routes.hold_s / 0.05)),
                  "retry_back_off": {"base_interval": "0.1s", "max_interval": "0.1s"}}  # fmt: skip
    shares = [
        {"name": colour, "weight": weight, "response_headers_to_add": [header(COLOUR, colour, "ADD_IF_ABSENT")]}
        for colour, weight in sorted(weights.items()) if weight
    ]  # fmt: skip
    return {"weighted_clusters": {"clusters": shares}, "timeout": "0s", "retry_policy": retry}


def _match(canary: CanaryRoute) -> Document:
    return {f"{canary.part}s": [{"name": canary.name, "string_match": {"exact": canary.value}}]}


def _canary(route: Document | None) -> CanaryRoute | None:
    if route is None:
        return None
    part: Literal["header", "cookie"] = "cookie" if "cookies" in route["match"] else "header"
    (match,) = route["match"][f"{part}s"]
    (share,) = route["route"]["weighted_clusters"]["clusters"]
    return CanaryRoute(part, match["name"], match["string_match"]["exact"], share["name"])


def _hold_s(policy: Document) -> float:
    return round(policy["num_retries"] * 0.05, 3) if "retry_back_off" in policy else 0.0
