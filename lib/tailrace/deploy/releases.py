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
    """Kept in `folder`, as `<id>.json`; one from before releases kept their acceptance gets the `default`."""

    folder: Path
    default: Acceptance

    def save(self, release: Release) -> None:
        files.make_folder(self.folder)
        files.write(self._file(release.id), json.dumps(release.document(), indent=1) + "\n")

    def remove(self, id: str) -> None:
        self._file(id).unlink(missing_ok=True)

    def ids(self) -> list[str]:
        """Return the ids of all releases that are kept."""
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def editions(self, content_id: str) -> list[int]:
        """Return the editions that are kept of that content."""
        of_it = [id.partition(".")[2] for id in self.ids() if id.partition(".")[0] == content_id]
        return [int(edition or 1) for edition in of_it]

    def find(self, id: str) -> Release:
        """Return the release of that id; raises DeployError when it is not kept here, or its file is damaged."""
        path = self._file(id)
        if id not in self.ids():
            known = ", ".join(self.ids()) or "none"
            raise DeployError(f"release {id!r} is not kept here ({self.folder}); known: {known}")
        try:
            return Release.read(json.loads(path.read_text(encoding="utf-8")), self.default)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DeployError(
                f"{path} is damaged ({type(error).__name__}), so release {id} cannot be deployed from it. "
                "Check out its source and type: tailrace deploy"
            ) from None

    def acceptance(self, id: str) -> Acceptance:
        """Return how an instance of release `id` shows that it may serve; the default where its file is of no use."""
        try:
            return self.find(id).acceptance
        except DeployError:
            return self.default

    def _file(self, id: str) -> Path:
        return self.folder / f"{id}.json"
