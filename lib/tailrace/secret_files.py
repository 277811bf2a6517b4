"""Secrets of a container: files that only its user may read, each named by a variable, as images of databases have it.

Everybody who may ask the Docker Engine about a container reads its environment; of a file, they see the path. The
variable `NAME_FILE` holds the path of the file with the value of `NAME`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Final

from tailrace.errors import SettingsError

FOLDER: Final = "/run/secrets"
SUFFIX: Final = "_FILE"
LIMIT_BYTES: Final = 64 << 10
"""More than this is no secret."""


def take(environment: MutableMapping[str, str], folder: str = FOLDER) -> None:
    """Put the content of each file in `folder` that a `NAME_FILE` names into `environment`, as `NAME`.

    Raises SettingsError when such a file cannot be read.
    """
    named = {name: place for name, place in environment.items() if name.endswith(SUFFIX) and len(name) > len(SUFFIX)}
    for name, place in named.items():
        if not place.startswith(f"{folder}/"):
            continue  # SSL_CERT_FILE and its kind
        try:
            with Path(place).open("rb") as file:
                content = file.read(LIMIT_BYTES)
        except OSError as error:
            raise SettingsError(f"{name}: {place} cannot be read ({error.strerror}); mount the secret there") from None
        environment[name.removesuffix(SUFFIX)] = content.decode("utf-8", "surrogateescape").removesuffix("\n")
        del environment[name]


def variables(names: Mapping[str, str], folder: str = FOLDER) -> dict[str, str]:
    """Return the variables that stand for the secrets `names` in the environment of a container."""
    return {f"{name}{SUFFIX}": f"{folder}/{name}" for name in names}


def archive(values: Mapping[str, str], user: str) -> bytes:
    """Return the files with these values as a tar: mode 0400, owned by `user`, as an image names it ("65532:65532").

    A user that is no number is known to the image alone: then whoever is in the container may read them.
    """
    owner, _, group = user.partition(":")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, value in values.items():
            content = value.encode("utf-8", "surrogateescape")
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o400
            if owner.isdigit():
                member.uid, member.gid = int(owner), int(group) if group.isdigit() else int(owner)
            elif owner not in ("", "root"):
                member.mode = 0o444
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()
