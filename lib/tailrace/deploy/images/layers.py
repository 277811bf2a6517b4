"""The contents of an image's layers, including files that a later layer hides."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import IO, Any

from tailrace.deploy.images import dockerd
from tailrace.deploy.images.confinement import PROOF

LARGEST_TEXT = 1_000_000
OURS = "tailrace-"
PACKAGES = """
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps([[d.name, d.version, sum(f.size or 0 for f in d.files or ())] for d in found]))
"""
FILES = """
import importlib.metadata, json
print(json.dumps([str(file) for file in importlib.metadata.files("tailrace")]))
"""


def digests(client: Any, image: str) -> list[str]:
    """Return the digests of the layers of `image`, the lowest first."""
    digests: list[str] = client.images.get(image).attrs["RootFS"]["Layers"]
    return digests


def own_files(client: Any, image: str, skip: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of small files, layer by layer, without the lowest `skip` layers.

    Compiled files are left out, too, and files that are unchanged since a wheel of others installed them.
    """
    with tempfile.TemporaryFile() as saved:
        for piece in client.images.get(image).save():
            saved.write(piece)
        saved.seek(0)
        with tarfile.open(fileobj=saved) as outer:
            manifest = outer.extractfile("manifest.json")
            assert manifest
            for name in json.load(manifest)[0]["Layers"][skip:]:
                files = dict(_files(outer.extractfile(name)))
                recorded = _recorded(files)
                for path, content in files.items():
                    if recorded.get(path) != hashlib.sha256(content).digest():
                        yield path, content


def packages(client: Any, image: str) -> list[tuple[str, str, int]]:
    """Return name, version and size in bytes of each Python package in the image, as its own Python lists them."""
    return [(name, version, size) for name, version, size in _printed(client, image, PACKAGES)]


def files(client: Any, image: str) -> list[str]:
    """Return the paths of the files that our own wheel has installed in the image, below its site-packages."""
    return [str(path) for path in _printed(client, image, FILES)]


def parts(client: Any, image: str) -> list[tuple[str, int]]:
    """Return the command that made each layer, and the layer's size in bytes, without empty layers."""
    history = client.images.get(image).history()
    return [(str(layer["CreatedBy"]), int(layer["Size"])) for layer in history if layer["Size"]]


def _printed(client: Any, image: str, program: str) -> Any:
    """Return the JSON that `program` prints, run by the image's own Python."""
    options = {"entrypoint": "python", "remove": True, "network_mode": "none", **PROOF}
    with dockerd.translated(f"image {image[:19]}"):
        output: bytes = client.containers.run(image, ["-c", program], **options)
    return json.loads(output)


def _files(layer: IO[bytes] | None) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=layer) as archive:
        for member in archive:
            if member.isfile() and member.size <= LARGEST_TEXT and not member.name.endswith((".pyc", ".so")):
                file = archive.extractfile(member)
                if file:
                    yield member.name, file.read()


def _recorded(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return path → sha256 of the files in the records of installed packages, without ours."""
    digests = {}
    for name, content in files.items():
        path = PurePosixPath(name)
        if path.name != "RECORD" or not path.parent.name.endswith(".dist-info") or path.parent.name.startswith(OURS):
            continue
        for line in csv.reader(content.decode("utf-8", "replace").splitlines()):
            if len(line) == 3 and line[1].startswith("sha256="):
                value = line[1].removeprefix("sha256=")
                digests[str(path.parent.parent / line[0])] = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    return digests
