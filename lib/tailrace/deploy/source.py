"""The source of a command: the digest of its files, a copy of each, and from where an instance of it runs.

Copies are in `<home>/releases/objects`, named by their content, each once for all releases; the list of a release's
files is in `<home>/releases/sources/<digest>.json`. An instance runs in place while the files there are the release's,
else from its kept copy: see `kept_copy`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from tailrace.deploy import source_walk
from tailrace.deploy.file_digests import LARGE_BYTES, FileDigests
from tailrace.deploy.release import digest
from tailrace.errors import BuildFailed, DeployError
from tailrace.host import files

MAX_KEPT_BYTES = 64 * 2**20
"""A larger file, as a model, is digested and not kept."""
MAX_CHANGES = 100


@dataclass(frozen=True)
class SourceFile:
    """One file; its owner, its times and the rest of its mode do not count."""

    sha256: str
    executable: bool
    size_bytes: int

    @property
    def kept(self) -> bool:
        return self.size_bytes <= MAX_KEPT_BYTES


@dataclass(frozen=True)
class Source:
    """The files of a command that runs in `directory`, by absolute path, found at or below `roots`."""

    directory: str
    roots: tuple[str, ...]
    files: Mapping[str, SourceFile]

    @property
    def key(self) -> str:
        """The name of its list: files and places."""
        return digest(self._document())[:16]

    @property
    def content(self) -> list[dict[str, tuple[str, bool]]]:
        """What belongs to a release's identity: the files of each root by their paths below it, wherever that is."""
        return [
            {os.path.relpath(path, root): (file.sha256, file.executable) for path, file in self.below(root).items()}
            for root in self.roots
        ]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())

    def label(self, path: str) -> str:
        """Return how messages name a file: relative to the project where it is in there."""
        relative = os.path.relpath(path, self.directory)
        return path if relative.startswith("..") else relative

    def save(self, releases: Path) -> None:
        files.replace(releases / "sources" / f"{self.key}.json", json.dumps(self._document()) + "\n")

    def below(self, root: str) -> dict[str, SourceFile]:
        """Return the files at or below one of the roots."""
        return {p: file for p, file in self.files.items() if p == root or p.startswith(root.rstrip("/") + "/")}

    def _document(self) -> dict[str, object]:
        return {
            "directory": self.directory,
            "roots": list(self.roots),
            "files": {path: asdict(file) for path, file in sorted(self.files.items())},
        }


def take(roots: Sequence[Path], directory: Path, releases: Path) -> Source:
    """Return the source at `roots`, with a copy of each file that is kept; raises BuildFailed.

    A folder's files are bounded in number and bytes; a single file in bytes that are kept.
    """
    found: dict[str, SourceFile] = {}
    for root in roots:
        try:
            _take_root(root, releases, found)
        except OSError as error:
            if Path(str(error.filename)).is_relative_to(releases):
                raise  # there is no place for the copies, which is not the fault of the files
            raise BuildFailed(
                f"service.source: {root} cannot be read: {error.strerror or error}; correct it in the profile"
            ) from None
    source = Source(str(directory), tuple(map(str, roots)), found)
    source.save(releases)
    return source


def read(releases: Path, key: str) -> Source:
    """Return the source of that key; raises DeployError when its list is gone or damaged."""
    path = releases / "sources" / f"{key}.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        of = {name: SourceFile(**fields) for name, fields in document["files"].items()}
        return Source(document["directory"], tuple(document["roots"]), of)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DeployError(
            f"{path}: the list of the release's files is gone or damaged, so nobody knows whether what is there is the "
            "release. Check out its source and type: tailrace deploy"
        ) from None


def changed(source: Source, releases: Path) -> list[str]:
    """Return the paths of `source` that are not as they were: other content, gone, or new in one of its folders."""
    digests = FileDigests(releases / "digests.json")
    differing = [path for path, file in source.files.items() if not _same(Path(path), file, digests)]
    here = (str(path) for root in source.roots for path in _files(Path(root)))
    return [*differing, *islice((path for path in here if path not in source.files), MAX_CHANGES)]


def stored(releases: Path, name: str) -> Path:
    """Return where the copy of a file is whose content has that sha256."""
    return releases / "objects" / name[:2] / name


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _take_root(root: Path, releases: Path, found: dict[str, SourceFile]) -> None:
    if not root.exists():
        raise BuildFailed(f"service.source: {root} does not exist; correct it in the profile")
    digests, folder = FileDigests(releases / "digests.json"), root.is_dir()
    taken: dict[str, SourceFile] = {}
    size_bytes = 0
    for path in source_walk.files(root):
        size_bytes += path.stat().st_size
        if folder and (len(taken) >= source_walk.MAX_FILES or size_bytes > source_walk.MAX_BYTES):
            raise BuildFailed(
                f"service.source: {root} holds more than {source_walk.MAX_FILES} files or "
                f"{source_walk.MAX_BYTES / 2**20:.0f} MB; name the folders and files of the program only"
            )
        taken[str(path)] = _take_file(path, releases, digests)
    found |= taken


def _take_file(path: Path, releases: Path, digests: FileDigests) -> SourceFile:
    """Return the facts of a file and keep a copy: the very bytes that were digested."""
    state = path.stat()
    executable, size_bytes = bool(state.st_mode & 0o111), state.st_size
    if size_bytes > MAX_KEPT_BYTES:
        return SourceFile(digests.of(path), executable, size_bytes)
    if size_bytes >= LARGE_BYTES and (copy := stored(releases, digests.of(path))).exists():
        os.utime(copy)
        return SourceFile(copy.name, executable, size_bytes)
    content = path.read_bytes()
    _store(stored(releases, sha256(content)), content)
    return SourceFile(sha256(content), executable, len(content))


def _store(path: Path, content: bytes) -> None:
    """Write a copy for its owner only; one that is there is marked as used now, so that no pruning removes it."""
    if path.exists():
        os.utime(path)
        return
    files.replace(path, content)


def _same(path: Path, file: SourceFile, digests: FileDigests) -> bool:
    try:
        state = path.stat()
        alike = (state.st_size, bool(state.st_mode & 0o111)) == (file.size_bytes, file.executable)
        return alike and digests.of(path) == file.sha256
    except OSError:
        return False


def _files(root: Path) -> list[Path]:
    try:
        return list(source_walk.files(root))
    except OSError:
        return []
