"""The files that a configuration names: certificates, the access log."""

import os
from collections.abc import Iterator

from bbs.config.checks.problem import (
    ACCESS_LOG,
    AUCTIONEER,
    EXIT_FAILED,
    LOCKET,
    METRICS,
    REPS,
    SERVER_TLS,
    Problem,
)
from bbs.config.upstream import UpstreamConfig
from bbs.tls.contexts import TLSFiles, TLSFilesInvalid, client_context, server_context


def loggregator_files(config: UpstreamConfig) -> TLSFiles | None:
    """``None`` if there are none at all: then no metrics are sent."""
    metrics = config.loggregator
    files = (
        metrics.loggregator_ca_path,
        metrics.loggregator_cert_path,
        metrics.loggregator_key_path,
    )
    return _files(*files) if any(files) else None


def rep_files(config: UpstreamConfig) -> TLSFiles | None:
    """``None`` unless all three are given: then the system's roots count, and we show no certificate."""
    files = (config.rep_ca_cert, config.rep_client_cert, config.rep_client_key)
    return _files(*files) if all(files) else None


def auctioneer_files(config: UpstreamConfig) -> TLSFiles | None:
    """``None`` if there are none at all."""
    files = (config.auctioneer_ca_cert, config.auctioneer_client_cert, config.auctioneer_client_key)
    return _files(*files) if any(files) else None


def server_files(config: UpstreamConfig) -> TLSFiles:
    return _files(config.ca_file, config.cert_file, config.key_file)


def locket_files(config: UpstreamConfig) -> TLSFiles:
    return _files(config.locket_ca_cert_file, config.locket_client_cert_file, config.locket_client_key_file)


def files_read_once(config: UpstreamConfig) -> list[TLSFiles]:
    """Those that gRPC is given when the process starts: a new certificate in them is used after the next start."""
    metrics = loggregator_files(config)
    return [locket_files(config), *([] if metrics is None else [metrics])]


def _files(ca: str, cert: str, key: str) -> TLSFiles:
    return TLSFiles(ca_file=ca, cert_file=cert, key_file=key)


def metrics_certificates(config: UpstreamConfig) -> Iterator[Problem]:
    files = loggregator_files(config)
    if files is not None and (error := _unfit(files)):
        yield Problem(
            step=METRICS,
            action="failed-to-initialize-metron-client",
            error=error,
            key="loggregator.loggregator_ca_path, _cert_path, _key_path",
            advice="give all three files, readable for this user; or none of them, and no metrics are sent",
            exit_code=EXIT_FAILED,
        )


def rep_certificates(config: UpstreamConfig) -> Iterator[Problem]:
    files = rep_files(config)
    if files is not None and (error := _unfit(files)):
        yield Problem(
            step=REPS,
            action="new-rep-client-factory-failed",
            error=error,
            key="rep_ca_cert, rep_client_cert, rep_client_key",
            advice="give files that can be read, a certificate that is valid now, and its key",
        )


def auctioneer_certificates(config: UpstreamConfig) -> Iterator[Problem]:
    files = auctioneer_files(config)
    if files is not None and (error := _unfit(files)):
        yield Problem(
            step=AUCTIONEER,
            action="failed-to-construct-auctioneer-client",
            error=error,
            key="auctioneer_ca_cert, auctioneer_client_cert, auctioneer_client_key",
            advice="give all three files, or none of them",
        )


def access_log(config: UpstreamConfig) -> Iterator[Problem]:
    """Does not open the file, which would make it: that is for the server to do."""
    path = config.access_log_path
    if path and (error := _why_not_writable(path)):
        yield Problem(
            step=ACCESS_LOG,
            action="invalid-access-log-path",
            error=f"open {path}: {error}",
            key="access_log_path",
            advice="give a file in a directory that this user may write to, or leave the key out",
            exit_code=EXIT_FAILED,
            data=(("access-log-path", path),),
        )


def _why_not_writable(path: str) -> str:
    directory = os.path.dirname(path) or "."
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return "invalid argument"
    if "\0" in path:
        return "invalid argument"
    if os.path.isdir(path):
        return "is a directory"
    if not os.path.exists(path) and not os.path.isdir(directory):
        return "no such file or directory"
    if not os.access(path if os.path.exists(path) else directory, os.W_OK):
        return "permission denied"
    name_bytes_max = os.pathconf(directory, "PC_NAME_MAX")
    if len(os.fsencode(os.path.basename(path))) > name_bytes_max:
        return "file name too long"
    return ""


def server_certificates(config: UpstreamConfig) -> Iterator[Problem]:
    files = server_files(config)
    try:
        server_context(ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file)
    except TLSFilesInvalid as error:
        yield Problem(
            step=SERVER_TLS,
            action="tls-configuration-failed",
            error=str(error),
            key="ca_file, cert_file, key_file",
            advice="give the CA of the clients, and a certificate that is valid now with its key",
        )


def locket_certificates(config: UpstreamConfig) -> Iterator[Problem]:
    if error := _unfit(locket_files(config)):
        yield Problem(
            step=LOCKET,
            action="failed-to-create-locket-client",
            error=error,
            key="locket_ca_cert_file, locket_client_cert_file, locket_client_key_file",
            advice="give all three files, and a certificate that is valid now",
        )


def _unfit(files: TLSFiles) -> str:
    """What is wrong with a client's files, or ''."""
    try:
        client_context(ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file)
    except TLSFilesInvalid as error:
        return str(error)
    return ""
