"""Where the edge of a deployment listens, and where its files are."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tailrace import profile
from tailrace.host import files, ports


@dataclass(frozen=True)
class Address:
    """Where something listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @property
    def reached(self) -> str:
        """The host by which this machine reaches it: one that listens everywhere is on loopback, too."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104


NOBODY = Address("127.0.0.1", 1)
"""An address where nobody listens."""


@dataclass(frozen=True)
class Layout:
    """Where the edge listens, and where its files are; fixed for the life of a deployment.

    `probe` has the same routes as `ingress` and is counted separately. Every listener but `ingress` is for loopback.
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

    def preview(self, colour: str) -> Address:
        return self.preview_blue if colour == "blue" else self.preview_green


def read_or_choose(chosen: profile.Profile, folder: Path, path: Path) -> Layout:
    """Return where the edge of this deployment listens: chosen once, then kept in the file `path`."""
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        addresses = {name: Address(**address) for name, address in kept.items()}
    else:
        addresses = _choose(chosen.edge)
        files.write(path, json.dumps({name: asdict(address) for name, address in addresses.items()}, indent=1) + "\n")
    doors = [addresses[name] for name in ("ingress", "probe", "preview_blue", "preview_green", "admin")]
    ingress, probe, preview_blue, preview_green, admin = doors
    return Layout(ingress, probe, preview_blue, preview_green, admin, str(folder), chosen.edge)


def _choose(settings: profile.EdgeSettings) -> dict[str, Address]:
    addresses: dict[str, Address] = {}
    for name in ("probe", "preview_blue", "preview_green", "admin"):
        taken = frozenset(address.port for address in addresses.values())
        addresses[name] = Address("127.0.0.1", ports.free(taken=taken | {settings.port}))
    taken = frozenset(address.port for address in addresses.values())
    return {"ingress": Address(settings.host, settings.port or ports.free(settings.host, taken)), **addresses}
