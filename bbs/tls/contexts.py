"""TLS contexts of the one profile that all of Diego's components share. spec: security.md, sections 1-3

TLS 1.2 and 1.3, two suites below 1.3, no ALPN, a certificate from both sides, trust in one CA file. Files are read
once, when a context is made. What is wrong with them is said in upstream's words, which operators search for.
"""

import base64
import binascii
import errno
import os
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final, TypeAlias

from cryptography import x509

StrPath: TypeAlias = str | os.PathLike[str]

# Both need an RSA key. Those of TLS 1.3 are not chosen here: OpenSSL offers just the three that Go does.
TLS12_SUITES: Final = ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256")


SESSION_TICKETS: Final = 1
"""As Go, whose clients keep one session per server: OpenSSL's second ticket costs 0.3 ms, an eighth of a handshake, and
replaces the first. None at all would save as much again, and make each reconnection a full handshake."""

FILE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A larger file is refused: a hundred times the CAs of a whole system. Without a bound a path such as ``/dev/zero``, which
never ends, would take all memory."""

_PEM_BLOCK: Final = re.compile(
    rb"^-----BEGIN (?P<kind>[^\r\n]*)-----[ \t]*\r?\n(?P<text>.*?)^-----END (?P=kind)-----[ \t]*\r?$",
    re.MULTILINE | re.DOTALL,
)


class FileFault(Enum):
    """What is wrong with a file."""

    UNREADABLE = auto()
    NOT_PEM = auto()
    """Nothing of what it should have is in it, or it can't be decoded."""
    OTHERS_KEY = auto()
    """The key is not that of the certificate."""
    EXPIRED = auto()
    NOT_YET_VALID = auto()


class TLSFilesInvalid(Exception):
    """A certificate, key or CA file cannot be used: ``file``, for the reason ``fault``. The text is upstream's."""

    def __init__(self, text: str, *, fault: FileFault = FileFault.NOT_PEM, file: str = "") -> None:
        super().__init__(text)
        self.fault = fault
        self.file = file


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSFiles:
    """Paths of PEM files: the CAs that we trust, our certificate, and its private key."""

    ca_file: StrPath
    cert_file: StrPath
    key_file: StrPath


def server_context(*, ca_file: StrPath, cert_file: StrPath, key_file: StrPath) -> ssl.SSLContext:
    """A context that demands a client certificate from the CAs in ``ca_file``, and trusts no others.

    OpenSSL checks the rest of the rule: if the client's certificate names extended usages, clientAuth is one.

    Raises:
      TLSFilesInvalid: a file is unreadable or unfit, or the certificate is not valid now.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _load_identity(context, cert_file=cert_file, key_file=key_file)
    _trust(context, ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = SESSION_TICKETS
    return context


def client_context(
    *,
    ca_file: StrPath | None,
    cert_file: StrPath | None,
    key_file: StrPath | None,
    skip_verify: bool = False,
) -> ssl.SSLContext:
    """A context that shows our certificate and checks the server's chain and name (the common name does not count).

    Without ``ca_file`` the system's roots are trusted, without ``cert_file`` and ``key_file`` no certificate is shown
    (spec: security.md, section 3); an empty path is not "without", but one that can't be opened. With ``skip_verify``
    the server may be anyone, and ``ca_file`` is not read.

    Raises:
      TLSFilesInvalid: as `server_context`.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    if cert_file is not None or key_file is not None:
        _load_identity(context, cert_file=cert_file or "", key_file=key_file or "")
    if skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _trust(context, ca_file)
    return context


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(TLS12_SUITES))
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.hostname_checks_common_name = False
    # As Go: a certificate in the CA file is an anchor even if it is not self-signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _load_identity(context: ssl.SSLContext, *, cert_file: StrPath, key_file: StrPath) -> None:
    fault, file = FileFault.NOT_PEM, cert_file
    try:
        leaf = _read_leaf(cert_file)
        file = key_file
        _read_key(key_file)
        # Without a password of ours, OpenSSL would ask for that of an encrypted key on the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
        file, now = cert_file, datetime.now(UTC)
        fault = FileFault.NOT_YET_VALID if now < leaf.not_valid_before_utc else FileFault.EXPIRED
        _check_validity(leaf, now=now)
    except OSError as error:  # SSLError is one
        text = f"failed to load keypair: {_reason(error)}"
        raise TLSFilesInvalid(text, fault=_fault(error), file=os.fspath(file)) from error
    except ValueError as error:
        raise TLSFilesInvalid(
            f"failed to load keypair: {error}", fault=fault, file=os.fspath(file)
        ) from error


def certificate_end_s(cert_file: StrPath) -> float:
    """When the certificate in that file ends, in Unix seconds.

    Raises:
      OSError, ValueError: there is none, or it can't be read.
    """
    return _read_leaf(cert_file).not_valid_after_utc.timestamp()


def _read_leaf(cert_file: StrPath) -> x509.Certificate:
    for block in _pem_blocks(_read(cert_file)):
        if block.kind == "CERTIFICATE":
            return x509.load_der_x509_certificate(block.der)
    raise ValueError("tls: failed to find any PEM data in certificate input")


def _read_key(key_file: StrPath) -> None:
    if not any(block.kind.endswith("PRIVATE KEY") for block in _pem_blocks(_read(key_file))):
        raise ValueError("tls: failed to find any PEM data in key input")


def _check_validity(certificate: x509.Certificate, *, now: datetime) -> None:
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < starts:
        raise ValueError(
            "certificate is not yet valid: "
            f"validity starts at {_time_text(starts)} but current time is {_time_text(now)}"
        )
    if now > ends:
        raise ValueError(
            f"certificate has expired: validity ended at {_time_text(ends)} but current time is {_time_text(now)}"
        )


def _time_text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _trust(context: ssl.SSLContext, ca_file: StrPath) -> None:
    path = os.fspath(ca_file)
    try:
        pem = _read(ca_file)
    except OSError as error:
        text = f'failed to read certificate(s) at path "{path}": {_reason(error)}'
        raise TLSFilesInvalid(text, fault=FileFault.UNREADABLE, file=path) from error
    anchors = []
    for block in _pem_blocks(pem):
        if block.kind != "CERTIFICATE":
            raise TLSFilesInvalid(f'unexpected PEM block type "{block.kind}" in file "{path}"', file=path)
        if block.has_headers:
            raise TLSFilesInvalid(f'unexpected PEM headers in file "{path}"', file=path)
        anchors.append(block.der)
    if not anchors:
        raise TLSFilesInvalid(f'no valid certificates read from file "{path}"', file=path)
    try:
        context.load_verify_locations(cadata=b"".join(anchors))
    except ssl.SSLError as error:
        raise TLSFilesInvalid(
            f'failed to parse certificate in file "{path}": {_reason(error)}', file=path
        ) from error


@dataclass(frozen=True, slots=True)
class _PEMBlock:
    kind: str
    has_headers: bool
    der: bytes


def _pem_blocks(pem: bytes) -> Iterator[_PEMBlock]:
    """The well-formed blocks, as Go's decoder finds them: whatever lies between and around them is skipped, and so is a
    block whose text is not base64.
    """
    for match in _PEM_BLOCK.finditer(pem):
        lines = match["text"].splitlines()
        headers = sum(1 for line in lines if b":" in line)  # a colon is not a base64 digit
        try:
            der = base64.b64decode(b"".join(line.strip() for line in lines[headers:]), validate=True)
        except binascii.Error:
            continue
        yield _PEMBlock(match["kind"].decode(errors="replace"), headers > 0, der)


def _read(path: StrPath) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except ValueError as error:  # a NUL in the path, or what this system's paths can't spell
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), os.fspath(path)) from error
    if len(content) > FILE_BYTES_MAX:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
    return content


def _fault(error: OSError) -> FileFault:
    if not isinstance(error, ssl.SSLError):
        return FileFault.UNREADABLE
    return FileFault.OTHERS_KEY if error.reason in KEYS_DIFFER else FileFault.NOT_PEM


KEYS_DIFFER: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH")


def _reason(error: OSError) -> str:
    """Why a file can't be used, in Go's words: operators search for them and have alerts on them."""
    if isinstance(error, ssl.SSLError):
        if error.reason in KEYS_DIFFER:
            return "tls: private key does not match public key"
        return f"tls: failed to parse private key or certificate: {error.reason or error}"
    if error.errno == errno.EISDIR:
        return f"read {error.filename}: is a directory"
    return f"open {error.filename}: {os.strerror(error.errno or 0).lower()}"
