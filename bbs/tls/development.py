"""Certificates for development: one CA, a server and a client pair. Operators bring their own.

The key of the CA is never written, so nothing can be added to what was made; make a new set instead.
"""

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bbs.tls.contexts import TLSFiles

DEFAULT_HOSTS: Final = ("localhost", "127.0.0.1", "::1", "*.bbs.service.cf.internal")
VALID_FOR: Final = timedelta(days=3650)
BACKDATED_BY: Final = timedelta(hours=1)  # for a peer whose clock is behind
RSA_KEY_BITS: Final = 2048  # the TLS 1.2 suites need RSA; spec: security.md, section 1


class CertificatesExist(Exception):
    """A file to be written is there already; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopmentCerts:
    """Where the PEM files lie."""

    ca_cert: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @classmethod
    def within(cls, directory: Path) -> Self:
        return cls(
            ca_cert=directory / "ca.crt",
            server_cert=directory / "server.crt",
            server_key=directory / "server.key",
            client_cert=directory / "client.crt",
            client_key=directory / "client.key",
        )

    @property
    def server_files(self) -> TLSFiles:
        """What a server, or who acts as one, is set up with."""
        return TLSFiles(ca_file=self.ca_cert, cert_file=self.server_cert, key_file=self.server_key)

    @property
    def client_files(self) -> TLSFiles:
        """What a client is set up with."""
        return TLSFiles(ca_file=self.ca_cert, cert_file=self.client_cert, key_file=self.client_key)

    def paths(self) -> tuple[Path, ...]:
        return (self.ca_cert, self.server_cert, self.server_key, self.client_cert, self.client_key)


def make_development_certs(directory: Path, *, hosts: Sequence[str] = DEFAULT_HOSTS) -> DevelopmentCerts:
    """Write a fresh set into ``directory``, which is made if missing. Takes about 0.3 s of computing.

    ``hosts`` are the names and IP addresses the server's certificate is good for. The server pair may also act as a
    client, as upstream's does, which task callbacks need.

    Raises:
      CertificatesExist: any of the five files exists.
      OSError: the directory cannot be written.
    """
    certs = DevelopmentCerts.within(directory)
    if existing := [str(path) for path in certs.paths() if path.exists()]:
        raise CertificatesExist(f"will not overwrite {', '.join(existing)}")
    directory.mkdir(parents=True, exist_ok=True)

    authority = _Authority.make()
    server_key, client_key = _new_key(), _new_key()
    server = authority.issue(
        server_key,
        "bbs",
        usages=[ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        hosts=hosts,
    )
    client = authority.issue(client_key, "bbs client", usages=[ExtendedKeyUsageOID.CLIENT_AUTH])

    # Keys first: a script that waits for a certificate to appear must find its key there.
    _write_new(certs.server_key, _key_pem(server_key), mode=0o600)
    _write_new(certs.client_key, _key_pem(client_key), mode=0o600)
    for path, certificate in (
        (certs.ca_cert, authority.certificate),
        (certs.server_cert, server),
        (certs.client_cert, client),
    ):
        _write_new(path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    return certs


@dataclass(frozen=True, slots=True)
class _Authority:
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls) -> Self:
        key = _new_key()
        name = _name("bbs development CA")
        certificate = (
            _builder(subject=name, issuer=name, key=key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    def issue(
        self,
        key: rsa.RSAPrivateKey,
        common_name: str,
        *,
        usages: Sequence[x509.ObjectIdentifier],
        hosts: Sequence[str] = (),
    ) -> x509.Certificate:
        builder = (
            _builder(subject=_name(common_name), issuer=self.certificate.subject, key=key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def _builder(*, subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED_BY)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_KEY_BITS)


def _key_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_new(path: Path, content: bytes, *, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
