"""Files that grow when they are read, and names that are none, are refused in bounded time and memory."""

import os
import subprocess
import sys

import pytest
import yaml

from tailrace import bench, profile
from tailrace.checks import checklist
from tailrace.errors import ProfileError
from tailrace.profile import core_schema, mistakes, reader
from tailrace.runner import plan


def lists(levels, times=9):
    """Return YAML whose last list stands for more than `times` to the power of `levels` values."""
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * times)}]" for n in range(1, levels + 1))]
    return "\n".join(lines)


def mappings(levels, times=9):
    """The same by mappings."""
    part = (", ".join(f"k{k}: *a{n - 1}" for k in range(times)) for n in range(1, levels + 1))
    return "\n".join(["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{{keys}}}" for n, keys in enumerate(part, 1))])


def merges(levels, times=9):
    """The same by merge keys, which take time and leave nothing."""
    part = (", ".join([f"*a{n - 1}"] * times) for n in range(1, levels + 1))
    return "\n".join(["a0: &a0 {k: v}", *(f"a{n}: &a{n} {{<<: [{names}]}}" for n, names in enumerate(part, 1))])


def leaves(value):
    """Return how many values `value` stands for."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return 1 + sum(map(leaves, parts))


GROWING = {
    "lists": (lists(9), "10,000 values"),
    "mappings": (mappings(9), "10,000 values"),
    "merges": (merges(9), "10,000 values"),
    "many values": ("- a\n" * 20_000, "10,000 values"),
    "deep lists": ("[" * 5_000 + "]" * 5_000, "64 lists"),
    "deep mappings": ("\n".join(f"{' ' * n}a:" for n in range(500)), "64 lists"),
    "open braces": ("{" * 60_000, "64 lists"),
    "a chain of aliases": ("a0: &a0 [x]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 99)), "64 lists"),
    "a long number": (f"a: 1{'0' * 5_000}", "digits"),
    "a long file": ("#" * (core_schema.MOST_BYTES + 1), "262,145 bytes; the limit is 262,144"),
}


@pytest.fixture
def project(tmp_path):
    """A project; call it with the text of every file that it reads."""
    (tmp_path / "runbook" / "profiles").mkdir(parents=True)

    def write(text):
        for name in ("profiles/p.yaml", "plan.yaml", "checklist.yaml", "bench.yaml"):
            (tmp_path / "runbook" / name).write_text(text)
        return tmp_path

    return write


READERS = {
    "profile": lambda root: profile.load("p", root, {}),
    "plan": plan.load,
    "checklist": lambda root: checklist.read(root / "runbook" / "checklist.yaml"),
    "benchmark": lambda root: bench.load(root / "runbook" / "bench.yaml"),
}


CASES = [("profile", kind) for kind in GROWING] + [(name, "lists") for name in READERS if name != "profile"]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_file_that_grows_is_refused_with_its_limit(project, name, kind):
    """With the name of the file, in one message of moderate length."""
    text, limit = GROWING[kind]
    root = project(text)
    with pytest.raises(ProfileError, match=limit) as caught:
        READERS[name](root)
    assert str(root) in str(caught.value)
    assert len(str(caught.value)) < 2_000


def test_the_loader_of_pyyaml_makes_all_of_it():
    """The test above can fail: a smaller one of the same kind becomes tens of thousands of values."""
    assert leaves(yaml.safe_load(lists(5))) > 6 * core_schema.MOST_VALUES
    with pytest.raises(yaml.YAMLError, match="values"):
        core_schema.load(lists(5))


def test_aliases_within_the_limits_are_read():
    """As profiles use them."""
    assert core_schema.load(lists(3)) == yaml.safe_load(lists(3))
    assert core_schema.load("[" * 60 + "]" * 60) == yaml.safe_load("[" * 60 + "]" * 60)


def test_a_file_of_100_mb_is_not_read(project):
    """It is refused by its size: this process grows by less than a tenth of that."""
    root = project("engine: process")
    os.truncate(root / "runbook" / "profiles" / "p.yaml", 100_000_000)
    code = (
        "import resource, sys; from tailrace import profile, errors; from pathlib import Path\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: profile.load('p', Path(sys.argv[1]), {})\n"
        "except errors.ProfileError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    said = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True).stdout
    assert "100,000,000 bytes; the limit is 262,144" in said
    assert int(said.split()[-1]) < 10_000


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir])
def test_a_plan_that_is_no_file_is_refused(tmp_path, kind):
    """A pipe would be waited for, for ever."""
    (tmp_path / "runbook").mkdir()
    kind(tmp_path / "runbook" / "plan.yaml")
    with pytest.raises(ProfileError, match="no regular file"):
        plan.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../p", "found a path"), ("/etc/passwd", "found a path"), ("a/b", "found a path"), (".", "found a path"),
        ("a\0b", "cannot be printed"), ("\x1b[31mp", "cannot be printed"), ("p\u202e", "cannot be printed"),
        ("p\n", "cannot be printed"), ("", "no letters"), (" ", "no letters"), ("p" * 5_000, "5,000 characters"),
        (f"{'p' * 300}.yaml", "305 characters"), ("../../no.yaml", "does not exist"), ("nobody", "does not exist"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(project, name, said):
    """On the command line, and in `extends`; nothing of it reaches the terminal raw."""
    for message in (refused(project, "engine: process", name), refused(project, f"extends: {extending(name)}", "p")):
        assert said in message or "found the path" in message
        assert message.replace("\n", "").isprintable()
        assert len(message) < 1_000


def extending(name):
    """Return `name` as YAML."""
    return yaml.safe_dump(name, default_style='"', width=10_000).strip()


def refused(project, text, name):
    """Return the message with which the profile `name` is refused."""
    with pytest.raises(ProfileError) as caught:
        profile.load(name, project(text), {})
    return str(caught.value)


def test_a_chain_of_profiles_has_a_limit(project):
    """One profile less is read."""
    root = project("engine: process")
    for number in range(1, reader.MOST_EXTENDED + 1):
        above = "p" if number == 1 else f"p{number - 1}"
        (root / "runbook" / "profiles" / f"p{number}.yaml").write_text(f"extends: {above}")
    with pytest.raises(ProfileError, match="more than 16 profiles, from p16 on"):
        profile.load(f"p{reader.MOST_EXTENDED}", root, {})
    assert profile.load(f"p{reader.MOST_EXTENDED - 1}", root, {}).engine == "process"


def test_an_anchor_that_holds_itself_is_refused_where_two_are_merged(project):
    """Both go on for ever."""
    root = project("service: &a {service: *a}")
    (root / "runbook" / "profiles" / "q.yaml").write_text("extends: p\nservice: &a {service: *a}")
    with pytest.raises(ProfileError, match="holds itself"):
        profile.load("q", root, {})


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_of_many_mistakes_the_first_are_told(project, read):
    """Thousands of keys that nobody knows are counted."""
    root = project("\n".join(f"k{number}: 1" for number in range(3_000)))
    with pytest.raises(ProfileError) as caught:
        read(root)
    lines = str(caught.value).splitlines()
    assert len(lines) <= mistakes.MOST_TOLD + 1


def test_a_grid_is_counted_before_it_is_made(project):
    """A few thousand values make ten thousand million measurements."""
    values = list(range(1, 1_001))
    text = f"targets: {{a: {{}}}}\nconcurrency: {values}\ninput_tokens: {values}\noutput_tokens: {values}"
    with pytest.raises(ProfileError, match="3,000,000,000 measurements; the limit is 2,000"):
        READERS["benchmark"](project(text))
