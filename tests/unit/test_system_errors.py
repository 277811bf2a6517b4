"""An error of the machine has a place, a fact and an advice, and is told from one of the program."""

import errno
import os

import pytest

from tailrace import system_errors
from tailrace.errors import DeployError


@pytest.mark.parametrize("number", sorted(system_errors.ADVICE))
def test_a_sentence_is_one_line_with_place_fact_and_advice(number):
    """Also where a name has a line break, and where an error names no file: then its subject is the command."""
    error = OSError(number, os.strerror(number), "/a\nb")
    assert system_errors.sentence(error) == f"/a b: {os.strerror(number)}; {system_errors.ADVICE[number]}"
    unnamed = OSError(number, os.strerror(number))
    assert system_errors.sentence(unnamed, "tailrace run").startswith(f"tailrace run: {os.strerror(number)}; ")


def test_a_rename_is_told_by_its_target():
    """Of two names the second is what the user has to look at."""
    assert system_errors.sentence(IsADirectoryError(errno.EISDIR, "Is a directory", "/x/.new", None, "/x/old"))[:7] == (
        "/x/old:"
    )


def test_other_errors_of_the_system_have_a_sentence_too():
    """Names as bytes, a refused connection, an error without a number."""
    assert system_errors.sentence(OSError(errno.ENOENT, "No such file or directory", b"/x")).startswith("/x: No such")
    assert system_errors.sentence(ConnectionRefusedError(111, "Connection refused"), "tailrace load") == (
        f"tailrace load: Connection refused; {system_errors.OTHERWISE}"
    )
    assert system_errors.sentence(OSError("odd")) == "odd"


def test_the_machine_is_at_fault_by_the_cause_too():
    """An error raised from a full disk is of the machine; a missing file and a defect, the controls, are not."""
    full = OSError(errno.ENOSPC, "No space left on device")
    caused = DeployError("not journalled")
    caused.__cause__ = full
    assert system_errors.of_machine(full)
    assert system_errors.of_machine(caused)
    assert not system_errors.of_machine(FileNotFoundError(errno.ENOENT, "No such file or directory"))
    assert not system_errors.of_machine(DeployError("not journalled"))


def test_the_words_of_another_process_tell_it():
    """A notebook's error comes as text; a refused connection, the control, is of the service."""
    assert system_errors.in_text("cell 4: OSError: [Errno 28] No space left on device: 'x'")
    assert not system_errors.in_text("cell 4: ConnectionRefusedError: [Errno 111] Connection refused")
    assert not system_errors.in_text("[Errno 99999999999999999999999]")


def test_a_ring_of_causes_ends():
    """Two errors that are each other's cause are looked at once."""
    one, other = LookupError("one"), LookupError("other")
    one.__cause__, other.__cause__ = other, one
    assert not system_errors.of_machine(one)
