"""The releases that were deployed here, one file each, so that they can be deployed again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from tailrace.deploy.release import Release
from tailrace.errors import DeployError
from tailrace.host import files
from tailrace.profile import Acceptance


@dataclass(frozen=True)
class Releases:
    """Kept in `folder`, as `<id>.json`."""

    folder: Path

    def save(self, release: Release) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        files.write(self.folder / f"{release.id}.json", json.dumps(release.document(), indent=1) + "\n")

    def find(self, id: str) -> Release:
        """Return the release of that id; raises DeployError when it was never deployed here."""
        path = self.folder / f"{id}.json"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in self.folder.glob("*.json"))) or "none"
            raise DeployError(f"release {id!r} was never deployed here ({self.folder}); known: {known}")
        return Release.read(json.loads(path.read_text(encoding="utf-8")))

    def acceptance(self, id: str, default: Acceptance) -> Acceptance:
        """Return how an instance of release `id` shows that it may serve; `default` where its file is gone."""
        return self.find(id).acceptance if (self.folder / f"{id}.json").is_file() else default
