"""Byte streams to a server: TCP with keep-alive, and anything else that a test or a simulation puts in its place."""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio
import trio.abc

from bbs.client._errors import (
    CertificateRefused,
    ConnectionRefused,
    Distrust,
    NotTLS,
    ServerNotTrusted,
    TransportError,
)

Connector = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a stream to a host and port, or raises `OSError`. TLS, if wanted, is put on top by the client."""


KEEP_ALIVE_PROBES: Final = 3
"""Unanswered probes after which a connection is broken. The system's nine would be five minutes for an idle stream."""


def tcp_connector(*, keep_alive_s: int) -> Connector:
    """Opens TCP connections that are probed after ``keep_alive_s`` of silence, and as often from then on. One whose peer is gone
    breaks after ``4 * keep_alive_s``.
    """

    async def connect(host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options = (
            ("TCP_KEEPIDLE", keep_alive_s),
            ("TCP_KEEPINTVL", keep_alive_s),
            ("TCP_KEEPCNT", KEEP_ALIVE_PROBES),
        )
        for name, value in options:
            if (option := getattr(socket, name, None)) is not None:  # not every system has all
                stream.setsockopt(socket.IPPROTO_TCP, option, value)
        return stream

    return connect


UNTRUSTED: Final = frozenset((2, 18, 19, 20, 21))
"""OpenSSL's numbers for a chain that does not lead to a CA of ours. Go has one text for them, which operators search for."""

UNKNOWN_AUTHORITY: Final = "certificate signed by unknown authority"

# Not every system has both.
NO_SUCH_HOST: Final = frozenset(getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA"))


def unresolved(host: str, error: socket.gaierror) -> str:
    """Why a name could not be resolved, in Go's words where they are known."""
    why = "no such host" if error.errno in NO_SUCH_HOST else (error.strerror or "failed").lower()
    return f"lookup {host}: {why}"


def reason(error: BaseException) -> str:
    """Why something failed, in a few words. Trio and ssl wrap the error that says it, so its causes are searched."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = UNKNOWN_AUTHORITY if cause.verify_code in UNTRUSTED else cause.verify_message
            return f"tls: failed to verify certificate: x509: {why}"
        if isinstance(cause, ssl.SSLError):  # an OSError whose number is not the system's
            return f"tls: {cause.reason or cause}"
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            # Name resolution has numbers of its own, with texts of their own.
            return cause.strerror if isinstance(cause, socket.gaierror) else os.strerror(cause.errno).lower()
    *_, deepest = _causes(error)
    return str(deepest) or type(deepest).__name__


def failure(error: BaseException, *, before: str = "") -> TransportError:
    """The error of ours that stands for one from below. Its text is ``before`` and the reason."""
    text = f"{before}{reason(error)}"
    for cause in _causes(error):
        match cause:
            case ConnectionRefusedError():
                return ConnectionRefused(text)
            case ssl.SSLCertVerificationError():
                return ServerNotTrusted(text, _distrust(cause.verify_code))
            case ssl.SSLError() if cause.reason in CERTIFICATE_ALERTS:
                return CertificateRefused(text, _alert(cause.reason))
            case ssl.SSLError() if cause.reason in NO_TLS:
                return NotTLS(text)
    return TransportError(text)


def _distrust(verify_code: int) -> Distrust:
    if verify_code in UNTRUSTED:
        return Distrust.UNKNOWN_AUTHORITY
    return DISTRUST.get(verify_code, Distrust.OTHER)


def _alert(reason: str) -> str:
    """TLS' word for an alert, from OpenSSL's."""
    return reason.partition("_ALERT_")[2].replace("_", " ").lower()


DISTRUST: Final = {
    9: Distrust.NOT_YET_VALID,
    10: Distrust.EXPIRED,
    62: Distrust.WRONG_NAME,  # of a host
    64: Distrust.WRONG_NAME,  # of an IP address
}
"""By OpenSSL's numbers for what is wrong with a certificate."""

NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
"""What OpenSSL calls an answer that is no TLS, depending on its bytes and on OpenSSL's version."""

CERTIFICATE_ALERTS: Final = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
    }
)
"""What OpenSSL calls the reasons for which a server turns a client's certificate down."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.exceptions[0] if isinstance(cause, BaseExceptionGroup) else cause.__cause__
