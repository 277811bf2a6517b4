"""The words of Envoy's configuration that its documents share, and how a file of them shows that it is whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

from tailrace.deploy.edge.layout import Address, Layout
from tailrace.errors import EdgeRejected

TYPE = "type.googleapis.com/envoy"
MEND = "run `resume`, which writes it anew"

Document = dict[str, Any]

# Those of libyaml, where it is there: a maintenance page is read 40 times faster.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


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


def discovered(*resources: Document, version: int | None = None) -> str:
    """Return the content of a file of `resources`; its version is their digest, unless another one is given."""
    version_info = digest(resources) if version is None else str(version)
    separate = json.loads(json.dumps(resources))  # else what two of them share would be written as a reference
    content = {"version_info": version_info, "resources": separate}
    return yaml.dump(content, Dumper=DUMPER, sort_keys=False)


def parsed(text: str) -> Any:
    """Return the content of a file of resources; raises YAMLError."""
    return yaml.load(text, Loader=LOADER)  # noqa: S506 (both are safe loaders)


def digest(resources: Any) -> str:
    """Return `v` and the first sixteen hexadecimal digits of the digest over `resources`."""
    # The letter: Envoy would read a version of digits, or of digits around an e, as a number.
    return "v" + hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]


def read(path: Path) -> Document:
    """Return the content of a file whose version is a digest; raises EdgeRejected when it is damaged.

    Envoy ignores a damaged file while it runs, and has no listener or no cluster when it starts on one.
    """
    try:
        found = parsed(path.read_text(encoding="utf-8"))
        is_whole = found["version_info"] == digest(found["resources"])
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise EdgeRejected(f"{path} is not a file of the edge ({type(error).__name__}: {reason}); {MEND}") from None
    if not is_whole:
        raise EdgeRejected(f"{path} was changed by somebody else; {MEND}")
    document: Document = found
    return document
