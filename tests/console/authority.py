"""Certificates with faults, as files: other names, other dates, other usages, and those of a stranger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
DAY: Final = timedelta(days=1)
LOOPBACK: Final = ("localhost", "127.0.0.1")
BOTH: Final = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Pair:
    """Paths of a certificate and its key."""

    cert: str
    key: str
    certificate: x509.Certificate


class Authority:
    """A CA whose file is ``ca``. ``ends`` and ``begins`` are relative to now."""

    def __init__(self, directory: Path, name: str, *, ends: timedelta = 10 * DAY) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self._certificate = (
            _builder(self._name, self._name, self._key, begins=-20 * DAY, ends=ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        path = directory / f"{name}.crt"
        path.write_bytes(self._certificate.public_bytes(PEM))
        self.ca = str(path)

    def issue(
        self,
        name: str,
        *,
        hosts: Sequence[str] = LOOPBACK,
        begins: timedelta = -10 * DAY,
        ends: timedelta = 10 * DAY,
        usages: Sequence[x509.ObjectIdentifier] = BOTH,
        is_rsa: bool = False,
    ) -> Pair:
        key: Key = (
            rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        )
        certificate = (
            _builder(_name(name), self._name, key, begins=begins, ends=ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file, key_file = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(PEM))
        key_file.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return Pair(str(cert_file), str(key_file), certificate)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, *, begins: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
