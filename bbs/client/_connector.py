"""Byte streams to a server: TCP with keep-alive, and anything else that a test or a simulation puts in its place."""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio
import trio.abc

Connector = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Opens a stream to a host and port, or raises `OSError`. TLS, if wanted, is put on top by the client."""


def tcp_connector(*, keep_alive_s: int) -> Connector:
    """Opens TCP connections that are probed after ``keep_alive_s`` of silence, and as often from then on."""

    async def connect(host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, port)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            if (option := getattr(socket, name, None)) is not None:  # not every system has both
                stream.setsockopt(socket.IPPROTO_TCP, option, keep_alive_s)
        return stream

    return connect


UNTRUSTED: Final = frozenset((18, 19, 20, 21))
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


def is_about_a_certificate(error: BaseException) -> bool:
    """Whether one side does not accept the other's certificate."""
    return any(
        isinstance(cause, ssl.SSLCertVerificationError)
        or (isinstance(cause, ssl.SSLError) and cause.reason in CERTIFICATE_ALERTS)
        for cause in _causes(error)
    )


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
