"""Where the edge of a deployment listens, and where its files are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tailrace import profile
from tailrace.deploy.edge import limits
from tailrace.host import files, ports
from tailrace.host.http import unix_url


@dataclass(frozen=True)
class Address:
    """Where something listens: a host and a port, or the path of a Unix socket and no port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def url(self) -> str:
        return f"http://{self}" if self.port else unix_url(self.host)

    @property
    def reached(self) -> str:
        """The host by which this machine reaches it: one that listens everywhere is on loopback, too."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104


NOBODY = Address("127.0.0.1", 1)
"""An address where nobody listens."""


@dataclass(frozen=True)
class Layout:
    """Where the edge listens, where its files are, and the settings by which it goes.

    Every address but `ingress` is fixed for the life of a deployment. `probe` has the same routes as `ingress` and is
    counted separately. Every listener but `ingress` is for loopback, and `admin`, which controls the edge, is a Unix
    socket that only the user of this deployment reaches.
    """

    ingress: Address
    probe: Address
    preview_blue: Address
    preview_green: Address
    admin: Address
    folder: str
    settings: profile.EdgeSettings = field(default_factory=profile.EdgeSettings)
    bind: str = ""
    """Where every listener binds instead, when something else than Envoy listens on the host."""
    connections: int = limits.MAX_CONNECTIONS
    """So many connections the front door takes at once."""

    def changed(self, settings: profile.EdgeSettings) -> Layout:
        """Return the layout of the same edge with other settings; without a port in them it keeps its own."""
        return replace(self, settings=settings, ingress=Address(settings.host, settings.port or self.ingress.port))

    @property
    def metrics(self) -> Address | None:
        """Where the edge shows its own counters; None: nowhere."""
        port = self.settings.metrics_port
        return Address("127.0.0.1", port) if port else None

    def preview(self, colour: str) -> Address:
        return self.preview_blue if colour == "blue" else self.preview_green


NAME = "layout.json"
"""The file of a layout, in the folder of its deployment."""
SOCKETS = "sockets"
"""The folder of the sockets by which an edge is controlled, beside it: nobody else may enter it."""
ADMIN = "admin.sock"
DOORS = ("ingress", "probe", "preview_blue", "preview_green", "admin")


def sockets(folder: Path) -> Path:
    """Return the folder of the sockets of the edge whose files are in `folder`; it is made where it is missing."""
    return files.make_folder(folder.with_name(SOCKETS))


def admin(folder: Path) -> Address:
    """Return where an edge whose files are in `folder` is controlled."""
    return Address(str(folder.with_name(SOCKETS) / ADMIN), 0)


def read_or_choose(chosen: profile.Profile, folder: Path, path: Path) -> Layout:
    """Return how the edge of this deployment was set up: chosen once, then kept in the file `path`."""
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        doors = {door: Address(**kept[door]) for door in DOORS}
        if not doors["admin"].port:
            doors["admin"] = admin(folder)  # the project may have been moved
        connections = int(kept.get("connections", limits.max_connections()))
        return _layout(doors, folder, _settings(kept, chosen.configured_edge), connections)
    doors = {**_choose(chosen.edge), "admin": admin(folder)}
    layout = _layout(doors, folder, chosen.configured_edge, limits.max_connections())
    save(layout, path)
    return layout


def save(layout: Layout, path: Path) -> None:
    """Keep `layout` in the file `path`: its doors, and the settings by which the edge goes."""
    kept = {door: asdict(getattr(layout, door)) for door in DOORS}
    more = {"connections": layout.connections, "settings": layout.settings.model_dump(mode="json")}
    files.write(path, json.dumps({**kept, **more}, indent=1) + "\n")


def _layout(doors: dict[str, Address], folder: Path, settings: profile.EdgeSettings, connections: int) -> Layout:
    ingress, probe, preview_blue, preview_green, admin = (doors[name] for name in DOORS)
    return Layout(
        ingress, probe, preview_blue, preview_green, admin, str(folder), settings, connections=connections
    )  # fmt: skip


def _settings(kept: dict[str, Any], default: profile.EdgeSettings) -> profile.EdgeSettings:
    """Return the settings that were kept; those of another version of tailrace may not be valid in this one."""
    try:
        return profile.EdgeSettings.model_validate(kept["settings"])
    except (KeyError, ValidationError):
        return default


def _choose(settings: profile.EdgeSettings) -> dict[str, Address]:
    addresses: dict[str, Address] = {}
    for name in ("probe", "preview_blue", "preview_green"):
        taken = frozenset(address.port for address in addresses.values())
        addresses[name] = Address("127.0.0.1", ports.free(taken=taken | {settings.port}))
    taken = frozenset(address.port for address in addresses.values())
    return {"ingress": Address(settings.host, settings.port or ports.free(settings.host, taken)), **addresses}
