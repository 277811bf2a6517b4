"""The result of one step, `results/<step>.json`: its checks, facts, figures and tables, and in the end its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from tailrace.host import files
from tailrace.masking import Mask
from tailrace.run import events
from tailrace.run.folder import RunDir
from tailrace.verdict import Check, Verdict, fold


@dataclass
class Result:
    """The result of the step `name` in `run`; each change is on disk when the call returns."""

    name: str
    run: RunDir
    mask: Mask = field(default=Mask(), repr=False)
    checks: list[Check] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    """In their order, as specifications that can be drawn again from the records."""
    tables: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def add_check(self, check: Check) -> None:
        """Add a check under a name of its own, and report it as an event of the run."""
        if any(known.name == check.name for known in self.checks):
            raise ValueError(f"{self.name}: check {check.name!r} was decided before; give this one another name")
        check = replace(check, fact=self.mask(check.fact), why=self.mask(check.why))
        self.checks.append(check)
        self.write()
        events.append(self.run.path, "check", step=self.name, **check.document())

    def add_figure(self, name: str, caption: str, options: Mapping[str, Any]) -> None:
        self.figures.append({"name": name, "caption": caption, "options": options})
        self.write()

    def add_table(self, name: str, caption: str, options: Mapping[str, Any]) -> None:
        self.tables.append({"name": name, "caption": caption, "options": options})
        self.write()

    def add_facts(self, facts: Mapping[str, Any]) -> None:
        self.facts.update(facts)
        self.write()

    @property
    def verdict(self) -> Verdict:
        """The verdict of the checks so far; without any it is INCONCLUSIVE."""
        return fold(check.state for check in self.checks)

    def write(self, verdict: Verdict | None = None) -> None:
        """Replace the result on disk; while the step is under way its verdict is null."""
        result = {
            "step": self.name,
            "verdict": verdict,
            "checks": [check.document() for check in self.checks],
            "figures": self.figures,
            "tables": self.tables,
            **self.facts,
        }
        text = orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()
        files.replace(self.run.result(self.name), text + "\n")


def checks_of(run: RunDir) -> dict[str, list[Check]]:
    """Return the checks that each step of `run` has made so far."""
    checks = {}
    for path in run.results():
        documents = orjson.loads(path.read_bytes())["checks"]
        checks[path.stem] = [Check.read(document) for document in documents]
    return checks
