"""Where an instance of a release runs: in place, or, when its files were changed since, from the copy that is kept.

The copy is below `<home>/releases/sources/<key>/tree`, at the absolute path of the original: `…/tree/srv/app/s.py`. Its
files are real; whatever else is in their folders, and in those above up to the project, is there by links. So a program
finds its neighbours by its own path, and `pgrep -f` finds it by the path that the profile has.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tailrace.deploy import bytecode, source_walk
from tailrace.deploy import source as sources
from tailrace.deploy.changes import shortened
from tailrace.deploy.release import Release
from tailrace.deploy.source import Source, SourceFile
from tailrace.errors import DeployError
from tailrace.host import files

TOKEN = re.compile(r"[^\s:;,'\"=|&<>()]+")


@dataclass(frozen=True)
class Place:
    """How an instance is started: the words of its command, its plain settings, and the folder that it runs in."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path | None
    fact: str = ""
    """Why it does not run in place; empty where it does."""


def place(release: Release, releases: Path) -> Place:
    """Return how to start an instance of `release` now, so that it runs the release's files and no others.

    Ask it again at each start of a process: files change. Raises DeployError when a file was changed that is not kept.
    """
    directory = Path(release.facts["directory"]) if "directory" in release.facts else None
    in_place = Place(release.command, release.environment, directory)
    if "source" not in release.facts:
        return in_place
    source = sources.read(releases, release.facts["source"])
    if not (changed := sources.changed(source, releases)):
        bytecode.drop_doubtful(map(Path, source.files))
        return in_place
    copy = KeptCopy(source, releases, tuple(changed))
    copy.make()
    named = copy.words(release.command)
    settings = {name: copy.moved(value) for name, value in release.environment.items()}
    return Place(tuple(named), settings, copy.directory(named), f"from its kept files: {copy.fact}")


@dataclass(frozen=True)
class KeptCopy:
    """The copy of `source`, of which the paths in `changed` are no longer what they were."""

    source: Source
    releases: Path
    changed: tuple[str, ...]

    @property
    def tree(self) -> Path:
        return self.releases / "sources" / self.source.key / "tree"

    @property
    def fact(self) -> str:
        verb = "has" if len(self.changed) == 1 else "have"
        return f"{shortened(list(map(self.source.label, self.changed)))} {verb} changed since"

    @cached_property
    def folders(self) -> set[str]:
        """The folders that are real in the copy: those of its files, up to the project or that of the root."""
        real = set()
        for root in map(Path, self.source.roots):
            top = self._project if self._project in root.parents else root.parent
            for path in self.source.below(str(root)):
                real |= {str(folder) for folder in Path(path).parents if folder == top or top in folder.parents}
        return real

    def at(self, path: str | Path) -> Path:
        """Return where the copy of that absolute path is."""
        return self.tree / str(path).lstrip("/")

    def make(self) -> None:
        """Make the copy, or complete what is there; raises DeployError when a changed file is not kept."""
        for folder in sorted(self.folders):
            files.make_folder(self.at(folder))
        for path, file in self.source.files.items():
            self._make_file(path, file)
        for folder in sorted(self.folders):
            self._link_rest(Path(folder))

    def words(self, command: Sequence[str]) -> list[str]:
        """Return the words of `command` with its paths moved to the copy; a program found by PATH is one of them."""
        found = [path for path in self.source.roots if command and Path(path).name == command[0]]
        first = [str(self.at(found[0]))] if found and "/" not in command[0] else []
        return first + [self.moved(word) for word in command[len(first) :]]

    def moved(self, text: str) -> str:
        """Return a word of the command, or a setting, with each path of the source that is in it moved to the copy."""
        return TOKEN.sub(lambda match: self._moved(match[0]), text)

    def directory(self, command: list[str]) -> Path:
        """Return the folder to run in: as before, unless a changed file might be found by it instead of by a word."""
        named = all(any(str(self.at(path)) in word for word in command) for path in self.changed)
        reachable = self.source.directory in self.folders
        return self._project if named or not reachable else self.at(self._project)

    @property
    def _project(self) -> Path:
        return Path(self.source.directory)

    def _moved(self, token: str) -> str:
        path = str(source_walk.absolute(self._project / token))
        if token.startswith("/"):
            return str(self.at(path)) if path in self.source.files or path in self.folders else token
        like_a_path = "/" in token or "." in token
        return str(self.at(path)) if like_a_path and path in self.source.files else token

    def _make_file(self, path: str, file: SourceFile) -> None:
        copy = self.at(path)
        if not file.kept:
            self._link_large(path, copy)
            return
        content = self._content(path, file)
        if copy.is_symlink() or not copy.is_file() or copy.read_bytes() != content:
            files.replace(copy, content)
        copy.chmod(0o700 if file.executable else 0o600)

    def _link_large(self, path: str, copy: Path) -> None:
        if path in self.changed:
            limit_mb = sources.MAX_KEPT_BYTES / 2**20
            raise DeployError(
                f"{path} has changed since, and is larger than the {limit_mb:.0f} MB of a file that are kept: the "
                "release cannot be brought back. Put the former file there again, or deploy what is there"
            )
        with contextlib.suppress(FileExistsError):
            copy.symlink_to(path)

    def _content(self, path: str, file: SourceFile) -> bytes:
        """Return the kept content; raises DeployError when the copy is gone or damaged."""
        kept = sources.stored(self.releases, file.sha256)
        content = kept.read_bytes() if kept.is_file() else b""
        if sources.sha256(content) != file.sha256:
            raise DeployError(
                f"{self.fact}; and the kept copy of {path} ({kept}) is gone or damaged: the release cannot be brought "
                "back. Check out its source and type: tailrace deploy"
            )
        return content

    def _link_rest(self, folder: Path) -> None:
        """Link what is in an original folder and no part of the release; in its roots, that is what is ignored."""
        of_source = any(root == folder or root in folder.parents for root in map(Path, self.source.roots))
        for path in folder.iterdir() if folder.is_dir() else ():
            new = of_source and not source_walk.ignored(path.name)
            if new or path.name == "__pycache__" or path in self.tree.parents:
                continue
            with contextlib.suppress(FileExistsError):
                self.at(path).symlink_to(path)
