"""Secrets in files: who may read them in a container, and how a service takes them."""

import io
import os
import tarfile

import pytest

from tailrace import secret_files
from tailrace.errors import SettingsError


def test_what_a_file_holds_becomes_the_variable(tmp_path):
    """`NAME_FILE` goes and `NAME` comes; a line end is no part of it. Variables with other paths stay as they are."""
    (tmp_path / "OPENAI_API_KEY").write_text("zebra-quartz\n")
    environment = {
        **secret_files.variables({"OPENAI_API_KEY": ""}, str(tmp_path)),
        "SSL_CERT_FILE": "/etc/ssl/cert.pem", "_FILE": f"{tmp_path}/x", "TAILRACE_MODEL": "m",
    }  # fmt: skip
    secret_files.take(environment, str(tmp_path))
    assert environment == {
        "OPENAI_API_KEY": "zebra-quartz", "SSL_CERT_FILE": "/etc/ssl/cert.pem", "_FILE": f"{tmp_path}/x",
        "TAILRACE_MODEL": "m",
    }  # fmt: skip


def test_a_file_that_is_not_there_is_said(tmp_path):
    """The service does not start without the key that it was to have."""
    with pytest.raises(SettingsError, match=r"KEY_FILE: .*KEY cannot be read \(No such file"):
        secret_files.take(secret_files.variables({"KEY": ""}, str(tmp_path)), str(tmp_path))


@pytest.mark.parametrize(
    ("user", "mode", "owner"),
    [("65532:65533", 0o400, (65532, 65533)), ("1000", 0o400, (1000, 1000)), ("", 0o400, (0, 0)),
     ("root", 0o400, (0, 0)), ("app", 0o444, (0, 0))],
)  # fmt: skip
def test_only_the_user_of_the_container_may_read_them(user, mode, owner):
    """As the image names it; a name means something in the image only."""
    packed = secret_files.archive({"KEY": "zebra-é"}, user)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mode, (member.uid, member.gid)) == ("KEY", mode, owner)
        assert tar.extractfile(member).read() == "zebra-é".encode()


def test_a_service_takes_its_key_from_a_file(tmp_path, monkeypatch):
    """The command reads it before its settings: what the system shows of the process holds no key."""
    from click.testing import CliRunner

    from tailrace.service import command, process

    (tmp_path / "OPENAI_API_KEY").write_text("zebra-quartz")
    monkeypatch.setattr(secret_files.take, "__defaults__", (str(tmp_path),))
    started = []
    monkeypatch.setattr(process, "run", lambda settings, host, port: started.append(settings))
    tests_own = dict.fromkeys(name for name in os.environ if name.startswith("TAILRACE_"))
    environment = tests_own | {
        "OPENAI_API_KEY": None, "OPENAI_API_KEY_FILE": f"{tmp_path}/OPENAI_API_KEY",
        "TAILRACE_PROVIDER_URL": "http://127.0.0.1:9/v1",
    }  # fmt: skip
    done = CliRunner().invoke(command.serve, env=environment, catch_exceptions=False)
    os.environ.pop("OPENAI_API_KEY", None)
    assert done.output == ""
    assert started[0].api_key == "zebra-quartz"
    assert "zebra" not in repr(started[0])
