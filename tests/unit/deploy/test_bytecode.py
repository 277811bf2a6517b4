"""An edit in the second in which a module was compiled is seen; bytecode beyond doubt stays."""

import os
import py_compile
import subprocess
import sys

from tailrace.deploy import bytecode


def test_an_edit_of_the_same_length_in_the_same_second_is_seen(tmp_path):
    """Negative control: without it, Python runs the former code."""
    module, pycache = tmp_path / "word.py", tmp_path / "__pycache__"

    def write(word):
        module.write_text(f"WORD = '{word}'\n")
        os.utime(module, (1_000_000, 1_000_000))

    def imported():
        done = subprocess.run(
            [sys.executable, "-c", "import word; print(word.WORD)"], cwd=tmp_path, capture_output=True, text=True,
            check=True, env={},
        )  # fmt: skip
        return done.stdout.strip()

    write("one")
    compiled = py_compile.compile(str(module))
    os.utime(compiled, (1_000_000, 1_000_000))
    write("two")
    assert imported() == "one"
    bytecode.drop_doubtful([module])
    assert imported() == "two"
    bytecode.drop_doubtful([module, tmp_path / "gone.py"])
    assert [path.name for path in pycache.iterdir()] == [compiled.rpartition("/")[2]]
