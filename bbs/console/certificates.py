"""What certificates say of themselves: ours, from its file, and that of a server, which is asked for it once more.

Python's ssl does not tell what was in a certificate that it refused. So after such a failure `bbs` shakes hands again without a
check, sends nothing, and looks at what it is shown. Nothing of that is trusted: it is only told to the operator.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import trio
from cryptography import x509

from bbs.cfdot.target import Target
from bbs.client import TransportError, shake_hands
from bbs.tls.contexts import TLSFilesInvalid, client_context

LOOK_MAX_S: Final = 5.0
OBJECTS_WITHIN_S: Final = 1.0
"""How long Locket has to turn our certificate down. One that does not greets us sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """``names`` are the hosts and addresses that it is good for; ``subject`` and ``issuer`` as RFC 4514 writes them."""

    names: tuple[str, ...]
    subject: str
    issuer: str
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        try:
            extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            hosts = extension.get_values_for_type(x509.DNSName)
            addresses = map(str, extension.get_values_for_type(x509.IPAddress))
            names = (*hosts, *addresses)
        except (x509.ExtensionNotFound, ValueError):  # there is none, or it can't be read
            names = ()
        return cls(
            names=names,
            subject=certificate.subject.rfc4514_string(),
            issuer=certificate.issuer.rfc4514_string(),
            begins=certificate.not_valid_before_utc,
            ends=certificate.not_valid_after_utc,
        )


def in_file(path: str) -> Certificate | None:
    """The first certificate of a PEM file; ``None`` if it can't be read."""
    try:
        with open(path, "rb") as file:
            return Certificate.of(x509.load_pem_x509_certificate(file.read()))
    except (OSError, ValueError):
        return None


def shown_by(server: str, target: Target) -> Certificate | None:
    """What ``server``, a host and port, shows to whoever comes with the target's certificate; ``None`` if nothing now."""
    try:
        shown = trio.run(_look, server, _context(target, is_checked=False))
        return Certificate.of(x509.load_der_x509_certificate(shown)) if shown else None
    except (TransportError, TLSFilesInvalid, ValueError):
        return None


def trouble_with(server: str, target: Target) -> TransportError | TLSFilesInvalid | None:
    """What fails in a handshake with ``server``, a Locket, as `bbs.client` would tell it; ``None`` if nothing does."""
    try:
        context = _context(target, is_checked=not target.skip_verify)
        context.set_alpn_protocols(["h2"])
        trio.run(_look, server, context, OBJECTS_WITHIN_S)
    except (TransportError, TLSFilesInvalid) as error:
        return error
    return None


async def _look(server: str, context: ssl.SSLContext, objects_within_s: float = 0.0) -> bytes | None:
    host, _, port = server.rpartition(":")
    return await shake_hands(
        host.strip("[]"), int(port), context, timeout_s=LOOK_MAX_S, objects_within_s=objects_within_s
    )


def _context(target: Target, *, is_checked: bool) -> ssl.SSLContext:
    return client_context(
        ca_file=target.ca_file if is_checked else None,
        cert_file=target.cert_file,
        key_file=target.key_file,
        skip_verify=not is_checked,
    )


def moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
