"""Build a release: tailrace's own service as an installed environment, or any command as it is, with its files.

A release holds the modules that the service imports, and no other: an edit elsewhere makes no new release. An
environment is content-addressed: the digest of its ingredients names its folder, it is built beside that folder and
renamed into place, and it is reused as long as the digest is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tailrace.deploy import build_failure, command_files, modules, source_walk
from tailrace.deploy import source as sources
from tailrace.deploy.release import Release, digest
from tailrace.errors import BuildFailed, PartMissing
from tailrace.host import files
from tailrace.profile import Service

LOCK = "requirements-service.lock"
SERVE = ("{python}", "-m", "tailrace.service", "--host", "{host}", "--port", "{port}")
SERVICE = "tailrace.service.__main__"
SIMULATOR = "tailrace.simulator.__main__"
EPOCH = "315532800"  # 1980-01-01, the first date that a zip file can hold
UMASK = 0o022
"""For uv: packages are links into its cache, which other environments share; the folder above keeps others out."""
EXTRAS = ("service", "redis")
"""Extras whose packages a release has: the service, and every store that TAILRACE_CACHE can name."""
METADATA = ("name", "version", "description", "requires-python", "license", "license-files")
"""Fields of pyproject.toml's [project] that go into a release's wheel; scripts, README and other extras do not."""


def build(service: Service, source: Path, releases: Path) -> Release:
    """Return the release of `service`, built in `releases` unless it is there already; raises BuildFailed."""
    if not service.ours:
        return command(service, source, releases)
    started = time.perf_counter()
    content_digest = content(source)
    folder = releases / content_digest[:16]
    if reused := (folder / "release.json").is_file():
        facts = json.loads((folder / "release.json").read_text(encoding="utf-8"))
        (folder / "release.json").touch()  # used now: no pruning removes it before it is deployed
    else:
        facts = _make(source, folder)
    facts |= {"reused": reused, "seconds": round(time.perf_counter() - started, 3), "folder": str(folder)}
    return Release("environment", content_digest, SERVE, service.environment, True, service.acceptance, facts)


def command(service: Service, source: Path, releases: Path) -> Release:
    """Return the release of a command as it is: the digest of its words and of its files; raises BuildFailed."""
    started = time.perf_counter()
    listed = tuple(source_walk.absolute(source / path) for path in service.source)
    roots = listed or command_files.named(service.command, source, service.environment)
    taken = sources.take(roots, source, releases)
    parts = [list(service.command), *([taken.content] if roots else [])]
    facts = {
        "directory": str(source), "source": taken.key, "files": len(taken.files), "size_bytes": taken.size_bytes,
        "reused": False, "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    return Release("command", digest(*parts), service.command, service.environment, False, service.acceptance, facts)


def content(source: Path, *programs: str) -> str:
    """Return the digest of all that goes into the environment of `programs`: modules, metadata, lock and Python."""
    ingredients = _ingredients(source, *programs)
    if (lock := source / LOCK).is_file():
        ingredients[LOCK] = lock.read_bytes()
    python = f"{platform.python_implementation()} {platform.python_version()} {sys.platform}"
    return digest(python, {name: hashlib.sha256(data).hexdigest() for name, data in ingredients.items()})


def wheel(source: Path, folder: Path, *programs: str) -> Path:
    """Build the wheel of `programs` (the service) into `folder`, the same bytes each time; raises BuildFailed."""
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in _ingredients(source, *programs).items():
            path = Path(scratch) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder.resolve())]
        _run(command, Path(scratch), SOURCE_DATE_EPOCH=EPOCH)
    built = next(folder.glob("*.whl"))
    built.chmod(files.FILE)  # hatchling gives it the same mode each time
    return built


def _ingredients(source: Path, *programs: str) -> dict[str, bytes]:
    """Return the files that the wheel of `programs` is built from, by path."""
    try:
        found = modules.needed(source / "lib", *(programs or (SERVICE,)))
        ingredients = {str(path.relative_to(source)): path.read_bytes() for path in found.values()}
        project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        licenses = {path.name: path.read_bytes() for path in source.glob("LICENSE*")}
        return ingredients | licenses | {"pyproject.toml": _pyproject(project).encode()}
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise BuildFailed(f"release: {source} cannot be packed: {type(error).__name__}: {error}") from None


def _pyproject(project: dict[str, object]) -> str:
    """Return the pyproject.toml of a release, whose extras are plain dependencies."""
    fields = {name: project[name] for name in METADATA if name in project}
    dependencies, extras = project["dependencies"], project["optional-dependencies"]
    assert isinstance(dependencies, list)
    assert isinstance(extras, dict)
    fields["dependencies"] = [*dependencies, *(requirement for name in EXTRAS for requirement in extras[name])]
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]  # these JSON values are TOML, too
    return "\n".join(
        [
            "[build-system]",
            'requires = ["hatchling"]',
            'build-backend = "hatchling.build"',
            "[project]",
            *lines,
            "[tool.hatch.build.targets.wheel]",
            'packages = ["lib/tailrace"]',
            "",
        ]
    )


def _make(source: Path, folder: Path) -> dict[str, object]:
    """Build the environment beside `folder`, then rename it; of two builders at once, the first wins."""
    files.make_folder(folder.parent)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    files.make_folder(beside)
    try:
        built = wheel(source, beside)
        python = _environment(source, beside / "env", built)
        facts: dict[str, object] = {
            "wheel": built.name,
            "wheel_sha256": hashlib.sha256(built.read_bytes()).hexdigest(),
            "python": platform.python_version(),
            "packages": _packages(python),
            "size_bytes": sum(p.lstat().st_size for p in beside.rglob("*") if p.is_file()),
        }
        files.replace(beside / "release.json", json.dumps(facts, indent=1) + "\n")
        try:
            beside.rename(folder)
        except OSError:
            if not (folder / "release.json").is_file():
                raise
        files.sync(folder.parent)
        return facts
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _environment(source: Path, folder: Path, built: Path) -> Path:
    """Install the locked packages, checked by their hashes, then the wheel without its dependencies."""
    tool = uv()
    python = folder / "bin" / "python"
    _run(
        [tool, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(files.make_folder(folder))],
        source,
        UMASK,
    )
    install = [tool, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    if (source / LOCK).is_file():
        _run([*install, "--require-hashes", "-r", LOCK], source, UMASK)
        _run([*install, "--no-deps", str(built)], source, UMASK)
    else:
        _run([*install, str(built)], source, UMASK)
    return python


def _packages(python: Path) -> dict[str, str]:
    listing = _run([uv(), "pip", "list", "--format", "json", "--python", str(python)], python.parent)
    return {package["name"]: package["version"] for package in json.loads(listing)}


def uv() -> str:
    """Return the path of uv; raises PartMissing."""
    try:
        from uv import find_uv_bin
    except ImportError:
        raise PartMissing("uv is not installed; type: pip install 'tailrace[notebooks]'") from None
    return str(find_uv_bin())


def _run(command: Sequence[str], directory: Path, umask: int = files.UMASK, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(
        command, cwd=directory, env=environment | variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        name = " ".join(Path(part).name if part.startswith("/") else part for part in command[:4])
        raise build_failure.error(f"release: `{name} …` exited with {done.returncode}", done.stdout + done.stderr)
    return done.stdout
