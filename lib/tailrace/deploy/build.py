"""Making a release: tailrace's own service as an installed environment, or any command as it is.

An environment is content-addressed: its folder is named by the digest of what goes into it, it is made beside and
renamed whole, and it is used again as long as the digest is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tailrace.deploy.release import Release, digest
from tailrace.errors import BuildFailed, PartMissing
from tailrace.host import files
from tailrace.profile import Service

LOCK = "requirements-service.lock"
SERVE = ("{python}", "-m", "tailrace.service", "--host", "{host}", "--port", "{port}")
EPOCH = "315532800"  # 1980-01-01, the first date that a zip file can hold
# What is built from where the source has its packages; see [tool.hatch.build.targets.wheel].
SOURCES = ("lib/tailrace", "pyproject.toml", "README.md", "LICENSE", LOCK)


def build(service: Service, source: Path, releases: Path) -> Release:
    """Return the release of `service`, built in `releases` unless it is there already; raises BuildFailed."""
    if not service.ours:
        facts = {"directory": str(source), "reused": False, "seconds": 0.0}
        return Release("command", digest(list(service.command)), service.command, service.environment, False, facts)
    started = time.perf_counter()
    digested = content(source)
    folder = releases / digested[:16]
    if reused := (folder / "release.json").is_file():
        facts = json.loads((folder / "release.json").read_text(encoding="utf-8"))
    else:
        facts = _make(source, folder)
    facts |= {"reused": reused, "seconds": round(time.perf_counter() - started, 3), "folder": str(folder)}
    return Release("environment", digested, SERVE, service.environment, True, facts)


def content(source: Path) -> str:
    """Return the digest of all that goes into the environment: source, lock and Python."""
    seen = hashlib.sha256(f"{platform.python_implementation()} {platform.python_version()} {sys.platform}".encode())
    for path in _files(source):
        seen.update(f"{path.relative_to(source)}\0".encode())
        seen.update(hashlib.sha256(path.read_bytes()).digest())
    return seen.hexdigest()


def _files(source: Path) -> list[Path]:
    found: list[Path] = []
    for name in SOURCES:
        path = source / name
        inside = path.rglob("*") if path.is_dir() else [path]
        found += [p for p in inside if p.is_file() and "__pycache__" not in p.parts and p.suffix != ".pyc"]
    return sorted(found)


def _make(source: Path, folder: Path) -> dict[str, object]:
    """Make the environment beside, then rename it whole; of two makers at once, the first wins."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
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
        (beside / "release.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        try:
            beside.rename(folder)
        except OSError:
            if not (folder / "release.json").is_file():
                raise
        files.sync(folder.parent)
        return facts
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def wheel(source: Path, folder: Path) -> Path:
    """Build the wheel, the same bytes each time from the same source."""
    _run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], source, SOURCE_DATE_EPOCH=EPOCH
    )
    return next(folder.glob("*.whl"))


def _environment(source: Path, folder: Path, built: Path) -> Path:
    """Install what is locked, with its hashes, then the wheel and nothing that it asks for."""
    tool = uv()
    python = folder / "bin" / "python"
    _run([tool, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder)], source)
    install = [tool, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    if (source / LOCK).is_file():
        _run([*install, "--require-hashes", "-r", LOCK], source)
        _run([*install, "--no-deps", str(built)], source)
    else:
        _run([*install, f"{built}[service]"], source)
    return python


def _packages(python: Path) -> dict[str, str]:
    listed = _run([uv(), "pip", "list", "--format", "json", "--python", str(python)], python.parent)
    return {package["name"]: package["version"] for package in json.loads(listed)}


def uv() -> str:
    """Return the path of uv; raises PartMissing."""
    try:
        from uv import find_uv_bin
    except ImportError:
        raise PartMissing("uv is not installed; type: pip install 'tailrace[notebooks]'") from None
    return str(find_uv_bin())


def _run(command: Sequence[str], directory: Path, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, cwd=directory, env=environment | more, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        named = " ".join(Path(part).name if part.startswith("/") else part for part in command[:4])
        raise BuildFailed(f"release: `{named} …` left with {done.returncode}; its last lines:\n{last}")
    return done.stdout
