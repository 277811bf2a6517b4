"""Reads a profile: merges it into the profile that it extends, and validates the result."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from tailrace import credentials, request_headers
from tailrace.errors import ProfileError
from tailrace.profile import core_schema, mistakes, policy
from tailrace.profile.models import Profile

MOST_EXTENDED: Final = 16
"""Profiles in one chain of `extends`."""
MOST_CHARACTERS: Final = 200
"""Of the name of a profile, and of each part of a path."""
MOST_PATH: Final = 4_000


def load(name: str, root: Path, environment: Mapping[str, str] | None = os.environ) -> Profile:
    """Return the profile `name` of the project at `root`; `name` may also be the path of a YAML file.

    Raises ProfileError, which names the file, the key, the value that was found and what was expected. The secrets of
    the profile have to be in `environment`; None omits that check, for commands that only stop things.
    """
    path = _path(name, root)
    profile = _validated(path, _merged(path, ()))
    if environment is not None:
        _require_secrets(path, profile, environment)
    return profile


def _validated(path: Path, document: dict[str, Any]) -> Profile:
    """Return the profile in `document`; a line for each mistake otherwise."""
    named = {"name": path.stem, **document}
    problems = list(islice(mistakes.converted(named, Profile), mistakes.MOST_TOLD))
    count = len(problems)
    try:
        profile = Profile.model_validate(named)
    except ValidationError as error:
        problems += mistakes.explain(error, Profile)
        count = max(count, error.error_count())
    if "name" not in document:
        slug = re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_")[:41] or "my-service"
        hint = f" (the name of its file); rename the file to {slug}.yaml, or write name: {slug} into it; expected"
        problems = [re.sub(r"; expected", hint, one, count=1) if one.startswith("name:") else one for one in problems]
    if problems:
        raise ProfileError(mistakes.listed([f"{path}: {problem}" for problem in dict.fromkeys(problems)], count))
    return profile


def _path(name: str, root: Path) -> Path:
    folder = root / "runbook" / "profiles"
    if problem := _name_problem(name):
        raise ProfileError(f"profile {_shown(name)}: {problem}")
    if _is_path_without_ending(name):
        raise ProfileError(
            f"profile {name!r}: found a path; expected the name of a file in {folder} without its ending, or a path "
            "that ends in .yaml"
        )
    path = Path(name) if _is_file(name) else folder / f"{name}.yaml"
    if not path.is_file():
        raise ProfileError(f"profile {name!r}: {path} does not exist; profiles here: {_others(folder, name)}")
    return path


def _is_file(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _is_path_without_ending(name: str) -> bool:
    return not _is_file(name) and ("/" in name or name.startswith("."))


def _name_problem(name: str) -> str:
    """Return why this can be no name of a profile; "" when it can."""
    longest = max(map(len, name.split("/")))
    if longest > MOST_CHARACTERS or len(name) > MOST_PATH:
        return f"found {len(name):,} characters; the limit is {MOST_CHARACTERS}: give a shorter name"
    if not name.isprintable() or not name.strip():
        return "found no letters, or some that cannot be printed; expected a plain name, such as local"
    return ""


def _shown(name: str) -> str:
    return repr(name) if len(name) <= MOST_CHARACTERS else f"{name[:40]!r}…"


def _others(folder: Path, name: str, but: Path | None = None) -> str:
    """Return the names of the profiles in `folder`, and which of them `name` may mean."""
    known = sorted(p.stem for p in folder.glob("*.yaml") if p != but)
    shown = known[: mistakes.MOST_TOLD]
    more = f" and {len(known) - len(shown):,} more" if len(known) > len(shown) else ""
    return f"{', '.join(shown) or 'none'}{more}{mistakes.near(name, known)}"


def _merged(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of `path` merged into what it extends: mappings merge by key, other values replace."""
    if path in extending:
        raise ProfileError(f"{path}: extends: {' → '.join(p.stem for p in (*extending, path))} is a circle")
    if len(extending) >= MOST_EXTENDED:
        raise ProfileError(
            f"{path}: extends: a chain of more than {MOST_EXTENDED} profiles, from {extending[0].stem} on; write "
            "some of them into one"
        )
    try:
        text = core_schema.read(path)
        content = core_schema.load(text) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: cannot be read as YAML: {_unreadable(error)}") from None
    if not isinstance(content, dict):
        what = "a list" if isinstance(content, list) else "text" if isinstance(content, str) else repr(content)
        raise ProfileError(f"{path}: found {what}, expected a mapping of keys, as in `engine: process`, without a dash")
    for finding in credentials.find(text):
        line = text.count("\n", 0, finding.start) + 1
        raise ProfileError(
            f"{path}: line {line} holds what looks like a credential ({finding.kind}); expected the name of an "
            "environment variable (provider.api_key_env, service.secrets). If it is a real one, revoke it"
        )
    parent = content.pop("extends", None)
    if parent is None:
        return content
    if not isinstance(parent, str):
        raise ProfileError(f"{path}: extends: found {parent!r}, expected the name of a profile")
    if problem := _name_problem(parent):
        raise ProfileError(f"{path}: extends: {_shown(parent)}: {problem}")
    if _is_path_without_ending(parent):
        raise ProfileError(
            f"{path}: extends: found the path {parent!r}; expected the name of a profile beside this one, or a path "
            "that ends in .yaml"
        )
    parent_file = parent if _is_file(parent) else f"{parent}.yaml"
    if not (path.parent / parent_file).is_file():
        raise ProfileError(
            f"{path}: extends: found {parent!r}, but {path.parent / parent_file} does not exist; profiles there: "
            f"{_others(path.parent, parent, path)}"
        )
    above = _merged(path.parent / parent_file, (*extending, path))
    try:
        return _merge(policy.newest(above, content), content)
    except RecursionError:
        raise ProfileError(f"{path}: found an anchor that holds itself; expected a value, written out") from None


def _unreadable(error: Exception) -> str:
    """Return why a text is no YAML, with what to write for what is most often meant."""
    fact = " ".join(str(error).split())
    if "'\\t'" in fact or "\\t" in fact:
        return f"{fact}. A tab begins this line; indent with spaces"
    if "alias" in fact or "anchor" in fact:
        return f"{fact}. A word that begins with * or & is an alias or an anchor; put it in quotes"
    if "mapping values are not allowed" in fact:
        return f"{fact}. Text with a colon and a blank in it needs quotes; a key is indented like its neighbours"
    return fact


def _merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    both = {k: _merge(parent[k], child[k]) for k in parent.keys() & child.keys()
            if isinstance(parent[k], dict) and isinstance(child[k], dict)}  # fmt: skip
    return {**parent, **child, **both}


def _require_secrets(path: Path, profile: Profile, environment: Mapping[str, str]) -> None:
    """Raise ProfileError unless the environment holds the secrets of the profile."""
    keys = dict.fromkeys(profile.service.variables, "service.headers")
    keys |= dict.fromkeys(profile.service.secrets, "service.secrets")
    keys |= profile.policy.variables
    if not profile.provider.simulated:
        keys[profile.provider.api_key_env] = "provider.api_key_env"
    for point, hook in profile.rollout.hooks:
        keys |= dict.fromkeys(hook.secrets if hook else (), f"rollout.hooks.{point}.secrets")
    for name, key in keys.items():
        if not environment.get(name):
            raise ProfileError(
                f"{path}: {key}: environment variable {name} is not set; expected it to hold the credential. "
                f"Set it where tailrace runs: export {name}=…"
            )
    for name in profile.service.variables:
        if reason := request_headers.missing(name, environment):
            raise ProfileError(f"{path}: service.headers: {reason}")
