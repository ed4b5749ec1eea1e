"""Who a client says it is: the names in its certificate, as the logs tell them (spec: metrics-and-logs.md §3.1)."""

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

CERTIFICATES_MAX: Final = 4096
"""Remembered, about 2 kB each. A fleet has one per cell, and a new one for each after a rotation."""


@lru_cache(maxsize=CERTIFICATES_MAX)
def certificate_data(der: bytes | None) -> dict[str, object]:
    """Log data of a leaf certificate; {} without one, or if it cannot be read. Remembered, as each request asks again for
    the same few: all callers share the dict, so nobody may change it.
    """
    if der is None:
        return {}
    try:
        certificate = x509.load_der_x509_certificate(der)
        return {**_names("subject", certificate.subject), **_names("issuer", certificate.issuer)}
    except ValueError:
        return {}  # OpenSSL has verified it, so it is good for a request, if not for a log line


def _names(whose: str, name: x509.Name) -> dict[str, object]:
    common_names = _values(name, NameOID.COMMON_NAME)
    return {
        # Of several common names Go keeps the last.
        f"peer_cert_{whose}_common_name": common_names[-1] if common_names else "",
        f"peer_cert_{whose}_organization": _values(name, NameOID.ORGANIZATION_NAME) or None,
        f"peer_cert_{whose}_organizational_unit": _values(name, NameOID.ORGANIZATIONAL_UNIT_NAME) or None,
    }


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]
