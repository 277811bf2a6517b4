"""Which files the words of a command name: the program, and neither its interpreter nor its data."""

import pytest

from tailrace.deploy import command_files

FILES = (
    "s.py", "bin/server", "conf/app.yaml", "pkg/__init__.py", "pkg/__main__.py", "pkg/web.py", "one.py", "data.db",
    "serve.log", "tls.key", "api_key", ".env", "python3", "lib/inner/app.py",
)  # fmt: skip


@pytest.fixture
def project(tmp_path):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "bin/server").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python s.py {port}", ["s.py"]),
        ("{python} s.py", ["s.py"]),
        ("/usr/bin/env python3.11 -u ./s.py", ["s.py"]),
        ("bin/server --config conf/app.yaml", ["bin/server", "conf/app.yaml"]),
        ("server --config=conf/app.yaml", ["bin/server", "conf/app.yaml"]),
        ("python -m pkg", ["pkg"]),
        ("python -m pkg.web", ["pkg"]),
        ("python -m one", ["one.py"]),
        ("uvicorn pkg.web:app --port {port}", ["pkg"]),
        ("gunicorn pkg.web", ["pkg"]),
        ("flask --app one run", ["one.py"]),
        ("uvicorn inner.app:create()", ["lib/inner"]),
        ("sh -c|exec python s.py --port {port}", ["s.py"]),
        ("sh -c|unbalanced ' s.py", []),
        ("python s.py --db data.db --log serve.log --tls tls.key --keys api_key --env .env", ["s.py"]),
        ("./python3 conf one pkg {port}", []),
        ("sleep 3600 pkg", []),
        ("python /dev/null /proc/self/status", []),
    ],
)
def test_the_words_name_the_files(project, command, expected):
    """By path, by PATH, by option, by module, or in a line for a shell."""
    before, bar, line = command.partition("|")
    words = [*before.split(), *([line] if bar else [])]
    settings = {"PATH": f"{project}/bin", "PYTHONPATH": "nowhere:lib"}
    found = command_files.named(words, project, settings)
    assert [str(path.relative_to(project)) for path in found] == expected


def test_a_word_that_can_be_no_path_names_nothing(project):
    """A prompt of a thousand words, or a byte that no path has."""
    assert command_files.named(["python", "x" * 5000, "a\0b", ""], project, {}) == ()


def test_of_a_package_above_the_bounds_only_the_module_counts(project, monkeypatch):
    """A default must not refuse a command that worked."""
    monkeypatch.setattr("tailrace.deploy.source_walk.MAX_FILES", 2)
    assert command_files.named(["python", "-m", "pkg.web"], project, {}) == (project / "pkg/web.py",)
