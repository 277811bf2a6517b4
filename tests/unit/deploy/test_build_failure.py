"""A build that is broken is a finding; one that this machine cannot make now is none."""

import pytest

from tailrace.deploy import build_failure
from tailrace.errors import BuildFailed, PartMissing

MACHINE = {
    "error: Failed to fetch: https://index.test/x/\n  cause: invalid peer certificate: UnknownIssuer": "SSL_CERT_FILE",
    "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed": "SSL_CERT_FILE",
    "  cause: Failed to fetch: http://127.0.0.1:9/simple/x/\n  cause: Connection refused (os error 111)": "HTTPS_PROXY",
    "  cause: dns error\n  cause: failed to lookup address information: Name or service not known": "the network",
    "W: Failed to fetch http://deb.example/  Temporary failure resolving 'deb.example'": "the network",
    "hint: Packages were unavailable because the network was disabled.": "UV_OFFLINE",
    "Because x was not found in the package registry and you require x==1, we can conclude": "UV_FIND_LINKS",
    "ERROR: No matching distribution found for x==1": "UV_FIND_LINKS",
    "error: failed to write: No space left on device (os error 28)": "the disk is full",
    "error: failed to create directory: Read-only file system (os error 30)": "writable",
}


@pytest.mark.parametrize(("output", "advice"), MACHINE.items())
def test_what_this_machine_lacks_is_told_with_what_to_set(output, advice):
    """It could not run: exit status 3, what to do, and the tool's own last lines."""
    error = build_failure.error("release: `uv pip install …` exited with 2", f"first line\n{output}")
    assert (type(error), error.exit_code) == (PartMissing, 3)
    assert "could not run: " in str(error)
    assert advice in str(error)
    assert output.splitlines()[-1].strip() in str(error)


BROKEN = (
    "error: Failed to download `x==1`\n  cause: Hash mismatch for `x==1`",
    "SyntaxError: invalid syntax",
    "Because a depends on b>2 and you require b==1, we can conclude that your requirements are unsatisfiable.",
    "",
)


@pytest.mark.parametrize("output", BROKEN)
def test_a_broken_build_is_a_finding(output):
    """Negative control: what the source itself gets wrong is FAIL, exit status 1."""
    error = build_failure.error("release: `hatchling build …` exited with 1", output)
    assert (type(error), error.exit_code) == (BuildFailed, 1)
    assert "its last lines" in str(error)
