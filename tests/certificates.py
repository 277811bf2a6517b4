"""Certificates for tests, made by `openssl`: an authority, and what it signs for this machine."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@dataclass(frozen=True)
class Authority:
    """Signs certificates for localhost and 127.0.0.1; everything is in `folder`."""

    folder: Path

    @classmethod
    def made(cls, folder: Path) -> "Authority":
        folder.mkdir(parents=True, exist_ok=True)
        constraint = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign")
        openssl(
            "req", "-x509", *CURVE, "-days", 2, "-subj", "/CN=tests", *constraint,
            "-keyout", folder / "authority.key", "-out", folder / "authority.pem",
        )  # fmt: skip
        return cls(folder)

    @property
    def certificate(self) -> Path:
        return self.folder / "authority.pem"

    def sign(self, name: str, days: int = 2, key: tuple[str, ...] = CURVE) -> tuple[Path, Path]:
        """Return a new certificate, and its key."""
        signed, private, request, names = (self.folder / f"{name}.{end}" for end in ("pem", "key", "csr", "names"))
        names.write_text(NAMES)
        openssl("req", *key, "-subj", f"/CN={name}", "-keyout", private, "-out", request)
        by = ("-CA", self.certificate, "-CAkey", self.folder / "authority.key", "-CAcreateserial")
        openssl("x509", "-req", "-in", request, *by, "-days", days, "-extfile", names, "-out", signed)
        return signed, private


def put(pair: tuple[Path, Path], folder: Path) -> dict[str, str]:
    """Rename a copy of the pair into `folder`, as a tool that renews it should; return the keys of `edge.tls`."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip(pair, ("certificate.pem", "key.pem"), strict=True):
        beside = folder / f".{name}.new"
        beside.write_bytes(source.read_bytes())
        beside.chmod(0o600)
        beside.rename(folder / name)
    return {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
