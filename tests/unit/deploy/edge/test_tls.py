"""Which certificates and keys are refused, and with which words."""

import re
from pathlib import Path

import pytest

from certificates import Authority, openssl
from tailrace.deploy.edge import tls
from tailrace.errors import PartMissing
from tailrace.profile import Tls


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.made(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def pair(authority, tmp_path):
    """Copies of a certificate and its key, for a test to break."""
    certificate, key = authority.sign("good")
    for source, name in ((certificate, "c.pem"), (key, "k.pem")):
        (tmp_path / name).write_bytes(source.read_bytes())
    return Tls(certificate=str(tmp_path / "c.pem"), key=str(tmp_path / "k.pem"))


def test_a_pair_of_today_passes(pair):
    """The negative control of all that follows."""
    tls.check(pair)


def test_without_tls_nothing_is_checked():
    """There is nothing to check."""
    tls.check(None)


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_a_missing_file_is_named(pair, which):
    """With the key of the profile, the path, and what to do."""
    Path(getattr(pair, which)).unlink()
    with pytest.raises(PartMissing, match=rf"edge\.tls\.{which}: /.*: No such file or directory; name a file"):
        tls.check(pair)


@pytest.mark.parametrize("which", ["certificate", "key"])
@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_pem_is_refused(pair, which, content):
    """Whatever else it is."""
    Path(getattr(pair, which)).write_text(content)
    with pytest.raises(PartMissing, match=re.escape(getattr(pair, which))):
        tls.check(pair)


def test_the_key_of_another_certificate_is_refused(pair, authority):
    """Envoy would refuse it too, after the switch."""
    with pytest.raises(PartMissing, match="the key is not that of the certificate"):
        tls.check(pair.model_copy(update={"key": str(authority.sign("other")[1])}))


def test_a_key_with_a_password_is_refused(pair, tmp_path):
    """Instead of waiting for somebody to type it."""
    openssl("ec", "-in", pair.key, "-aes256", "-passout", "pass:secret", "-out", tmp_path / "locked.pem")
    with pytest.raises(PartMissing, match="has a password"):
        tls.check(pair.model_copy(update={"key": str(tmp_path / "locked.pem")}))


def test_an_expired_certificate_is_refused(authority):
    """By its own dates."""
    certificate, key = authority.sign("old", days=-1)
    with pytest.raises(PartMissing, match="has expired; renew it"):
        tls.check(Tls(certificate=str(certificate), key=str(key)))


def test_a_short_key_is_refused(authority):
    """Envoy takes none below 2048 bits of RSA."""
    certificate, key = authority.sign("short", key=("-newkey", "rsa:1024", "-nodes"))
    with pytest.raises(PartMissing, match="too short: at least 2048 bits"):
        tls.check(Tls(certificate=str(certificate), key=str(key)))


def test_a_chain_passes(pair, authority):
    """Its own certificate first, then those above it."""
    with Path(pair.certificate).open("ab") as file:
        file.write(authority.certificate.read_bytes())
    tls.check(pair)


def test_what_envoy_gets_is_where_the_files_are(pair):
    """No byte of the key."""
    assert Path(pair.key).read_text().splitlines()[1] not in tls.secret(pair)
    assert pair.key in tls.secret(pair)
