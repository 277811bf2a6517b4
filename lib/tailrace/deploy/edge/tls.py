"""TLS at the front door: the operator's certificate and key, read by Envoy from where they are, and again when renewed.

The key is never copied, and nothing here keeps a byte of it: the edge's files hold its path.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from tailrace.deploy.edge.envoy import TYPE, Document, discovered, file
from tailrace.deploy.edge.layout import Address, Layout
from tailrace.errors import PartMissing
from tailrace.profile import Tls

SECRET = "certificate"  # noqa: S105 (a name)
"""The name of the file in which Envoy finds the paths, and of the secret in it."""
REASONS = {
    "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
    "NO_START_LINE": "not PEM: there is no line that begins with -----BEGIN",
    "EE_KEY_TOO_SMALL": "the key is too short: at least 2048 bits of RSA, or an elliptic curve",
}


class _Encrypted(Exception):
    """The key has a password."""


def check(tls: Tls | None) -> None:
    """Raise PartMissing unless the edge could serve with these files now: readable, a pair, and of today."""
    if tls is None:
        return
    for name, path in (("certificate", tls.certificate), ("key", tls.key)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            what = f"edge.tls.{name}: {path}: {error.strerror}"
            raise PartMissing(f"{what}; name a file that the user who runs tailrace can read") from None
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(tls.certificate, tls.key, _no_password)
    except _Encrypted:
        raise PartMissing(f"edge.tls.key: {tls.key} has a password; name a key without one") from None
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", "") or str(error)
        raise PartMissing(
            f"edge.tls: {tls.certificate} and {tls.key}: {REASONS.get(reason, reason)}; name a certificate in PEM, "
            "its own first, then those above it, and the key that it was made for"
        ) from None
    if problem := _shake_hands(server, tls.certificate):
        raise PartMissing(f"edge.tls.certificate: {tls.certificate}: {problem}; renew it: runbook/procedures/tls.md")


def _no_password() -> str:
    raise _Encrypted


def _shake_hands(server: ssl.SSLContext, certificate: str) -> str:
    """Return why a client that trusts just this certificate would not take it today; empty when it would.

    That is how Python's own `ssl` reads a certificate's dates: in a handshake, here without a socket.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cafile=certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for side in sides * 2:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return error.reason
    return ""


def served(address: Address, tls: Tls) -> bool:
    """Return whether who listens at `address` speaks TLS with the certificate that is in the file now."""
    return _certificate(address) == _leaf(tls.certificate)


def speaks(address: Address) -> bool:
    """Return whether who listens at `address` speaks TLS, with whatever certificate."""
    return _certificate(address) is not None


def _certificate(address: Address) -> bytes | None:
    """Return the certificate, in DER, of who listens at `address`; None without one."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address.reached, address.port), 2.0) as plain, client.wrap_socket(plain) as side:
            return side.getpeercert(binary_form=True)
    except OSError:
        return None


def _leaf(certificate: str) -> bytes:
    """Return the first certificate of the file, in DER."""
    text = Path(certificate).read_text(encoding="ascii", errors="replace")
    _, begin, rest = text.partition(ssl.PEM_HEADER)
    body, _, _ = rest.partition(ssl.PEM_FOOTER)
    return ssl.PEM_cert_to_DER_cert(begin + body + ssl.PEM_FOOTER)


def secret(tls: Tls) -> str:
    """Return the file in which Envoy finds where the certificate and its key are.

    Envoy watches the folders of both, and reads them again once a file is renamed into one of them.
    """
    pair = {"certificate_chain": {"filename": tls.certificate}, "private_key": {"filename": tls.key}}
    kind = f"{TYPE}.extensions.transport_sockets.tls.v3.Secret"
    return discovered({"@type": kind, "name": SECRET, "tls_certificate": pair})


def transport(layout: Layout) -> Document:
    """Return what makes a listener speak TLS, and HTTP/2 with those who ask for it (ALPN)."""
    context = {
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [{"name": SECRET, "sds_config": file(layout, SECRET)}],
    }
    kind = f"{TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, "common_tls_context": context},
    }
