"""The words of Envoy's configuration that its documents share."""

from __future__ import annotations

from typing import Any

import yaml

from tailrace.deploy.edge.layout import Address, Layout

TYPE = "type.googleapis.com/envoy"

Document = dict[str, Any]


def file(layout: Layout, name: str) -> Document:
    """Return where Envoy reads the file of `name`, and reads it again when one is renamed into place."""
    return {"path_config_source": {"path": f"{layout.folder}/{name}.yaml"}, "resource_api_version": "V3"}


def socket(address: Address) -> Document:
    """Return `address` as Envoy writes it."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def bound(address: Address, layout: Layout) -> Document:
    """Return where a listener of `address` binds."""
    return socket(Address(layout.bind or address.host, address.port))


def header(name: str, value: str, action: str) -> Document:
    """Return a header to add to an answer."""
    return {"header": {"key": name, "value": value}, "append_action": action}


def discovered(version: int | str, resource: Document) -> str:
    """Return the content of a file of one resource."""
    return yaml.safe_dump({"version_info": str(version), "resources": [resource]}, sort_keys=False)
