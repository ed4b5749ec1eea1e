"""The kinds of failures on the way to a server, and what a person is told of each: what is wrong, where, and what to do.

Which kind a failure is, the typed errors of `bbs.client` and `bbs.tls` say, which are among the causes of the command's own.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from bbs.cfdot.target import Target
from bbs.client import (
    BadEventSourceResponse,
    CertificateRefused,
    ConnectionRefused,
    Distrust,
    EndpointNotFound,
    HostNotFound,
    NotMaster,
    NotTLS,
    ServerNotTrusted,
    TLSWanted,
    TransportError,
    TransportTimeout,
    UnexpectedStatus,
)
from bbs.console.certificates import Certificate, in_file, moment, shown_by, trouble_with
from bbs.models.errors import RequestTimeout
from bbs.sync.locket.client import Code, LocketError, LocketUnreachable
from bbs.tls.contexts import FileFault, TLSFilesInvalid

DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def told_of(failed: BaseException, target: Target) -> str:
    """What is to be said of the first cause that is known; '' if none is."""
    for cause in _causes(failed):
        for kind, tell in TOLD.items():
            if isinstance(cause, kind):
                return tell(cause, target)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def address_of(target: Target) -> str:
    """Host and port of a BBS's URL; Locket's address as it is."""
    url = urlsplit(target.address)
    if url.scheme not in DEFAULT_PORTS:
        return target.address
    return f"{url.hostname}:{url.port or DEFAULT_PORTS[url.scheme]}"


def _server(error: TransportError, target: Target) -> str:
    return error.server or address_of(target)


def _is_bbs(error: TransportError, target: Target) -> bool:
    """Not Locket, nor a rep, which some commands ask, too."""
    return "://" in target.address and _server(error, target) == address_of(target)


# No connection


def _refused(error: ConnectionRefused, target: Target) -> str:
    nobody = f"Nobody listens at {_server(error, target)}."
    if not _is_bbs(error, target):
        return f"{nobody} Is this the right address, and does the process run?"
    return (
        f"{nobody} Either no BBS runs there, or it is a standby: only the master listens on this port. "
        "To find the master: /active on the servers' health ports answers 200 on the master alone, and Locket's lock 'bbs' names "
        "its owner and its URL (`bbs locks`)."
    )


def _not_found(error: HostNotFound, target: Target) -> str:
    host = _server(error, target).rpartition(":")[0]
    return (
        f"No address is known for the name '{host}'. Is it spelt right? Names below service.cf.internal are known to the machines "
        "of the deployment only: from elsewhere take an IP address or a tunnel."
    )


def _no_connection_in_time(error: TransportTimeout, target: Target) -> str:
    return (
        f"There was no connection to {_server(error, target)} in time. The machine is down, a firewall drops what is sent to it, or "
        "it is too busy to shake hands. Is the address right, and can it be reached from this machine?"
    )


def _no_answer_in_time(error: RequestTimeout, target: Target) -> str:
    if isinstance(error.__cause__, TransportTimeout):
        return _no_connection_in_time(error.__cause__, target)
    return (
        f"{address_of(target)} did not answer within {target.timeout_s} s. It may be busy, or wait for its database; is it a BBS at all? "
        "Allow more by --timeout SECONDS (CFDOT_TIMEOUT). A change that was asked for may have been made all the same."
    )


# TLS


def _not_trusted(error: ServerNotTrusted, target: Target) -> str:
    server = _server(error, target)
    certificate = shown_by(server, target)
    match error.why:
        case Distrust.UNKNOWN_AUTHORITY:
            return _of_unknown_authority(server, certificate, target)
        case Distrust.EXPIRED | Distrust.NOT_YET_VALID:
            return _not_valid_now(server, certificate, target)
        case Distrust.WRONG_NAME:
            return _of_wrong_name(server, certificate)
        case _:
            return (
                f"The certificate of the server at {server} can't be used by a server. It needs another one."
            )


def _of_unknown_authority(server: str, certificate: Certificate | None, target: Target) -> str:
    issued = f", issued by {certificate.issuer} for {_listed(certificate.names)}" if certificate else ""
    return (
        f"The certificate of the server at {server}{issued}, is of no CA in {target.ca_file}. "
        "Take the CA file of this deployment (--caCertFile, CA_CERT_FILE, or ca_file of a target); if it is that, the address is "
        "another deployment's, or somebody else answers there."
    )


def _not_valid_now(server: str, certificate: Certificate | None, target: Target) -> str:
    now = datetime.now(UTC)
    clock = f"This machine's clock says {moment(now)}; if that is wrong, set it."
    if certificate is None:
        return f"The certificate of the server at {server}, not yours, is not valid now. {clock}"
    if certificate.ends < now:
        return (
            f"The certificate of the server at {server}, not yours, has expired: it was valid until {moment(certificate.ends)}. "
            f"Give the server a new one. {clock}"
        )
    if certificate.begins > now:
        return (
            f"The certificate of the server at {server}, not yours, is not valid yet: it will be from {moment(certificate.begins)}. "
            f"{clock}"
        )
    return (
        f"The certificate of the server at {server} is valid, but one that it was issued by is not: the CA in {target.ca_file}, or one "
        f"between them. {clock}"
    )


def _of_wrong_name(server: str, certificate: Certificate | None) -> str:
    host = server.rpartition(":")[0]
    names = _listed(certificate.names) if certificate else "other names"
    return (
        f"The certificate of the server at {server} is not for '{host}', but for: {names}. "
        "Call the server by one of these, or give it a certificate for that name. Is it the right server?"
    )


def _certificate_refused(error: CertificateRefused, target: Target) -> str:
    server = _server(error, target)
    ours = in_file(target.cert_file)
    issuer = f", issued by {ours.issuer}" if ours else ""
    wrong = f"The server at {server} does not accept the client certificate {target.cert_file}{issuer}"
    match error.alert:
        case "certificate required":
            return (
                f"The server at {server} wants a client certificate. It was shown none, or none that it could ask for: "
                f"is {target.cert_file} of the CA in the server's ca_file? (--clientCertFile, CLIENT_CERT_FILE)"
            )
        case "certificate expired":
            until = f", which is valid until {moment(ours.ends)}" if ours else ""
            return f"{wrong}{until}: it takes it for expired. Is the server's clock right?"
        case "unknown ca":
            return (
                f"{wrong}: that CA is not in the server's ca_file. Take a certificate of this deployment (--clientCertFile,"
                " --clientKeyFile)."
            )
        case "unsupported certificate":
            return f"{wrong}: it is not meant for clients (its extended key usage lacks clientAuth). Take another one."
        case alert:
            return f"{wrong} ('{alert}'). The server's log says why."


def _not_tls(error: NotTLS, target: Target) -> str:
    return (
        f"What listens at {_server(error, target)} does not speak TLS. If it is a `bbs serve` without certificates, its URL begins with "
        "http://; otherwise it is another port, such as the health or the debug port."
    )


def _tls_wanted(_: TLSWanted, target: Target) -> str:
    return (
        f"The server at {address_of(target)} speaks TLS only. Write https:// in place of http://, and give it the CA file, the client "
        "certificate and its key (--caCertFile, --clientCertFile, --clientKeyFile, or a target that has them)."
    )


def _file(error: TLSFilesInvalid, target: Target) -> str:
    match error.fault:
        case FileFault.EXPIRED | FileFault.NOT_YET_VALID:
            certificate = in_file(error.file)
            valid = (
                f" It is valid from {moment(certificate.begins)} to {moment(certificate.ends)}."
                if certificate
                else ""
            )
            return (
                f"That is your own certificate, {error.file}, not the server's.{valid} "
                "Take one that is valid now (--clientCertFile, --clientKeyFile); if it should be, set this machine's clock."
            )
        case FileFault.OTHERS_KEY:
            return (
                f"The key {target.key_file} is not that of the certificate {target.cert_file}. "
                "Take the pair that was issued together (--clientCertFile, --clientKeyFile)."
            )
        case FileFault.UNREADABLE:
            return f"The file {error.file} can't be read. Is the path right, and may you read it?"
        case FileFault.NOT_PEM:
            return (
                f"The file {error.file} is not what it should be: certificates and keys are PEM files, which begin with -----BEGIN, "
                "and the key has no passphrase."
            )


# Answers


def _not_master(error: NotMaster, target: Target) -> str:
    where = f" (--bbsURL {error.master})" if error.master else ""
    return (
        f"The server at {address_of(target)} is a follower, which answers reads and refers writes to the master{where}. "
        f"It says: {error.said}"
    )


def _unknown_path(_: EndpointNotFound, target: Target) -> str:
    return (
        f"The server at {target.address} does not know what this command asks for. It is older than the command, or no BBS: "
        "the health and debug ports, and proxies on the way, answer 404, too. Is the URL right, without a path of its own?"
    )


def _status(error: UnexpectedStatus, target: Target) -> str:
    said = f" It says: {error.said}" if error.said else ""
    if error.status == UNAVAILABLE:
        return (
            f"The server at {address_of(target)} is there, but does not answer requests now: it migrates its database or loads it, or it is "
            f"a follower that is behind. Try again in a moment; /ready on its health port answers 200 once it does.{said}"
        )
    return f"The server at {address_of(target)}, or a proxy on the way, answered {error.status} and no more.{said}"


UNAVAILABLE: Final = 503


def _stream_refused(error: BadEventSourceResponse, target: Target) -> str:
    match error.status:
        case 404:
            return _unknown_path(EndpointNotFound(), target)
        case 400 if not target.is_tls:
            return _tls_wanted(TLSWanted(400), target)
        case status:
            return _status(UnexpectedStatus(status), target)


# Locket


def _locket(_: LocketError | LocketUnreachable, target: Target) -> str:
    """gRPC says little of why it has no connection: so one is tried without it."""
    if not target.is_tls:
        return f"Is {target.address} a Locket without TLS, and does it run?"
    trouble = trouble_with(target.address, target)
    if trouble is not None and (text := told_of(trouble, target)):
        return text
    return f"Something answers at {target.address}, over TLS; is it a Locket?"


def _locket_refused(error: LocketError, target: Target) -> str:
    return _locket(error, target) if error.code == Code.UNAVAILABLE else ""


# The rest


def _transport(error: TransportError, target: Target) -> str:
    server = _server(error, target)
    if target.is_tls:
        return (
            f"The connection to {server} ended before there was an answer. A server that turns a client certificate down may end it so; "
            f"its log says why. The certificate is {target.cert_file}. Or it was stopped meanwhile: try again."
        )
    return f"The connection to {server} ended before there was an answer. Is it a BBS, and without TLS? Or it was stopped: try again."


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no name at all"


TOLD: Final[Mapping[type[BaseException], Callable[[Any, Target], str]]] = {
    ConnectionRefused: _refused,
    HostNotFound: _not_found,
    TransportTimeout: _no_connection_in_time,
    RequestTimeout: _no_answer_in_time,
    ServerNotTrusted: _not_trusted,
    CertificateRefused: _certificate_refused,
    NotTLS: _not_tls,
    TransportError: _transport,
    TLSFilesInvalid: _file,
    TLSWanted: _tls_wanted,
    NotMaster: _not_master,
    EndpointNotFound: _unknown_path,
    UnexpectedStatus: _status,
    BadEventSourceResponse: _stream_refused,
    LocketUnreachable: _locket,
    LocketError: _locket_refused,
}
"""By the class of the error, the more special ones first."""
