"""Handshakes that failed, in the words of Go's runtime: operators search standard error for them.

spec: metrics-and-logs.md §3
"""

import ssl
import sys
import time
from collections.abc import Mapping
from typing import Final

# OpenSSL's reasons that an operator meets; others are told as OpenSSL tells them.
_GO_WORDS: Final[Mapping[str, str]] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "tls: client didn't provide a certificate",
    "NO_SHARED_CIPHER": "tls: no cipher suite supported by both client and server",
    "UNSUPPORTED_PROTOCOL": "tls: client offered only unsupported versions",
    "WRONG_VERSION_NUMBER": "tls: first record does not look like a TLS handshake",
    "HTTP_REQUEST": "tls: first record does not look like a TLS handshake",
    "TLSV1_ALERT_UNKNOWN_CA": "remote error: tls: unknown certificate authority",
    "SSLV3_ALERT_BAD_CERTIFICATE": "remote error: tls: bad certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "remote error: tls: expired certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "remote error: tls: unknown certificate",
    "UNEXPECTED_EOF_WHILE_READING": "EOF",
}

PLAIN_HTTP: Final = "client sent an HTTP request to an HTTPS server"


def go_words(error: BaseException | None) -> str:
    """The reason of a failed handshake as Go words it; ``error`` is None if the client just went away."""
    match error:
        case None:
            return "EOF"
        case ssl.SSLCertVerificationError():
            return f"tls: failed to verify certificate: x509: {error.verify_message}"
        case ssl.SSLError():
            return _GO_WORDS.get(
                error.reason or "", f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"
            )
    return str(error)


def failure_line(remote_addr: str, reason: str, *, now_s: float) -> str:
    """The line that Go's `http.Server` logs."""
    timestamp = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now_s))
    return f"{timestamp} http: TLS handshake error from {remote_addr}: {reason}\n"


def tell_on_stderr(remote_addr: str, reason: str) -> None:
    """For ``Hooks.on_handshake_failed``. Does not block in a server's process: see `bbs.log.standard_streams`."""
    sys.stderr.write(failure_line(remote_addr, reason, now_s=time.time()))
    sys.stderr.flush()
