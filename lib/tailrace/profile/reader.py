"""Reads a profile: merges it into the profile that it extends, and validates the result."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from tailrace import credentials, request_headers
from tailrace.errors import ProfileError
from tailrace.profile import core_schema
from tailrace.profile.models import Profile
from tailrace.profile.section import ProfileSection


def load(name: str, root: Path, environment: Mapping[str, str] | None = os.environ) -> Profile:
    """Return the profile `name` of the project at `root`; `name` may also be the path of a YAML file.

    Raises ProfileError, which names the file, the key, the value that was found and what was expected. The secrets of
    the profile have to be in `environment`; None omits that check, for commands that only stop things.
    """
    path = _path(name, root)
    merged = _merged(path, ())
    merged.setdefault("name", path.stem)
    try:
        profile = Profile.model_validate(merged)
    except ValidationError as error:
        raise ProfileError(_explanation(path, error)) from None
    if environment is not None:
        _require_secrets(path, profile, environment)
    return profile


def _path(name: str, root: Path) -> Path:
    folder = root / "runbook" / "profiles"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise ProfileError(f"profile {name!r}: {path} does not exist; profiles here: {known}")
    return path


def _merged(path: Path, extending: tuple[Path, ...]) -> dict[str, Any]:
    """Return the content of `path` merged into what it extends: mappings merge by key, other values replace."""
    if path in extending:
        raise ProfileError(f"{path}: extends: {' → '.join(p.stem for p in (*extending, path))} is a circle")
    try:
        text = path.read_text(encoding="utf-8")
        content = core_schema.load(text) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ProfileError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: found a {type(content).__name__}, expected a mapping of keys")
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
    parent_file = parent if parent.endswith(".yaml") else f"{parent}.yaml"
    if not (path.parent / parent_file).is_file():
        raise ProfileError(f"{path}: extends: found {parent!r}, but {path.parent / parent_file} does not exist")
    return _merge(_merged(path.parent / parent_file, (*extending, path)), content)


def _merge(parent: dict[str, Any], child: dict[str, Any]) -> dict[str, Any]:
    both = {k: _merge(parent[k], child[k]) for k in parent.keys() & child.keys()
            if isinstance(parent[k], dict) and isinstance(child[k], dict)}  # fmt: skip
    return {**parent, **child, **both}


def _explanation(path: Path, error: ValidationError) -> str:
    lines = []
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in detail["loc"]) or "(top level)"
        value = detail["input"]
        found = type(value).__name__ if isinstance(value, dict | list | ProfileSection) else repr(value)
        unknown = detail["type"] == "extra_forbidden"
        expected = f"unknown key; expected {_keys(detail['loc'])}" if unknown else detail["msg"]
        lines.append(f"{path}: {key}: found {found}; {expected}")
    return "\n".join(lines)


def _keys(place: tuple[int | str, ...]) -> str:
    """Return the keys that are allowed in the place of an unknown one."""
    model: type[BaseModel] = Profile
    for part in place[:-1]:
        inner = model.model_fields[part].annotation if isinstance(part, str) else model
        candidates = [inner, *get_args(inner)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return ", ".join(field.alias or name for name, field in model.model_fields.items())


def _require_secrets(path: Path, profile: Profile, environment: Mapping[str, str]) -> None:
    """Raise ProfileError unless the environment holds the secrets of the profile."""
    keys = dict.fromkeys(profile.service.variables, "service.headers")
    keys |= dict.fromkeys(profile.service.secrets, "service.secrets")
    if not profile.provider.simulated:
        keys[profile.provider.api_key_env] = "provider.api_key_env"
    for name, key in keys.items():
        if not environment.get(name):
            raise ProfileError(
                f"{path}: {key}: environment variable {name} is not set; expected it to hold the credential. "
                f"Set it where tailrace runs: export {name}=…"
            )
    for name in profile.service.variables:
        if reason := request_headers.missing(name, environment):
            raise ProfileError(f"{path}: service.headers: {reason}")
