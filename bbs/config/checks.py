"""What a server refuses to start with, in the order in which upstream's comes upon it. spec: config.md §2, §4

The server runs the checks between the steps that open connections, and stops at the first problem. ``bbs check-config``
runs them all. Neither repeats a secret.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from bbs.config.upstream import UpstreamConfig
from bbs.listen import AddressInvalid, PortUnknown, split_address
from bbs.log import Level, PatternInvalid, data_processors
from bbs.store.crypto import BadKeys, Keyring
from bbs.store.dsn import BadConnectionString, parse_dsn
from bbs.tls import TLSFiles, TLSFilesInvalid, client_context, server_context

EXIT_FAILED = 1
EXIT_FATAL = 2

# Steps of upstream's start (spec: config.md §4). Those between are no business of the configuration alone.
LOGGER, METRICS, HEALTH_ADDRESS, ENCRYPTION, DATABASE, REPS, AUCTIONEER = 2, 3, 4, 5, 6, 9, 10
ACCESS_LOG, SERVER_TLS, LOCKET, UUID, TICKERS, MEMBERS = 11, 12, 13, 14, 15, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """``action`` and ``error`` are what the server logs, in upstream's words; the rest is for people.

    Without an ``action`` nothing is logged, as there may be no log yet: the error goes to standard error. ``key`` names
    the place in the file, and ``advice`` says what to do.
    """

    step: int
    action: str
    error: str
    key: str
    advice: str
    exit_code: int = EXIT_FATAL
    data: tuple[tuple[str, object], ...] = ()


def problems(config: UpstreamConfig) -> Iterator[Problem]:
    """Everything that keeps a server from starting, as far as can be said without connecting to anybody.

    Reads the files that the configuration names, each when its check is asked for.
    """
    for check in (
        _logger,
        _metrics,
        _health_address,
        _encryption,
        _database,
        _reps,
        _auctioneer,
        _access_log,
        _server_tls,
        _locket,
        _uuid,
        _tickers,
        _members,
    ):
        yield from check(config)


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


def _files(ca: str, cert: str, key: str) -> TLSFiles:
    return TLSFiles(ca_file=ca, cert_file=cert, key_file=key)


def _logger(config: UpstreamConfig) -> Iterator[Problem]:
    try:
        Level.from_config(config.log_level)
    except ValueError as error:
        yield Problem(
            step=LOGGER,
            action="",
            error=str(error),
            key="log_level",
            advice="use debug, info, error or fatal",
        )
    try:
        data_processors(
            max_data_string_length=config.max_data_string_length,
            redact_secrets=config.redact_secrets,
            redact_patterns=config.redact_patterns,
        )
    except PatternInvalid as error:
        yield Problem(
            step=LOGGER,
            action="",
            error=str(error),
            key="redact_patterns",
            advice="mend the pattern, or leave the key out for the default ones",
        )


def _metrics(config: UpstreamConfig) -> Iterator[Problem]:
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


def _health_address(config: UpstreamConfig) -> Iterator[Problem]:
    advice = "give host:port, for example 127.0.0.1:8890"
    try:
        split_address(config.health_address)
    except (AddressInvalid, PortUnknown) as error:
        invalid = isinstance(error, AddressInvalid)
        action = "failed-invalid-health-address" if invalid else "failed-invalid-health-port"
        yield Problem(
            step=HEALTH_ADDRESS, action=action, error=str(error), key="health_address", advice=advice
        )


def _encryption(config: UpstreamConfig) -> Iterator[Problem]:
    try:
        Keyring(config.encryption_keys, config.active_key_label)
    except BadKeys as error:
        yield Problem(
            step=ENCRYPTION,
            action="cannot-setup-encryption",
            error=str(error),
            key="encryption_keys, active_key_label",
            advice="encryption_keys maps labels to passphrases, and active_key_label names one of them",
        )


def _database(config: UpstreamConfig) -> Iterator[Problem]:
    driver, text = config.database_driver, config.database_connection_string
    if not driver or not text:
        yield Problem(
            step=DATABASE,
            action="no-database-configured",
            error="no database configured",
            key="database_driver" if not driver else "database_connection_string",
            advice="set database_driver to postgres, and database_connection_string to its URL",
        )
        return
    if driver != "postgres":
        known = "this server works with Postgres only" if driver == "mysql" else "unknown driver"
        yield Problem(
            step=DATABASE,
            action="invalid-driver-name",
            error=f"{known}: {driver}",
            key="database_driver",
            advice="set it to postgres",
            data=(("driver-name", driver),),
        )
        return
    try:
        parse_dsn(text)
    except BadConnectionString as error:
        yield Problem(
            step=DATABASE,
            action="invalid-db-connection-string",
            error=str(error),
            key="database_connection_string",
            advice="give postgres://user:password@host:port/database, or libpq's key=value form",
        )
    if config.sql_ca_cert_file:
        yield from _sql_ca(config.sql_ca_cert_file)


def _sql_ca(path: str) -> Iterator[Problem]:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        yield Problem(
            step=DATABASE,
            action="failed-to-read-sql-ca-file",
            error=f"open {path}: {(error.strerror or '').lower()}",
            key="sql_ca_cert_file",
            advice="give a readable file, or leave the key out: with Postgres it has no effect",
        )
        return
    if b"-----BEGIN CERTIFICATE-----" not in content:
        yield Problem(
            step=DATABASE,
            action="failed-to-parse-sql-ca",
            error="no certificate in it",
            key="sql_ca_cert_file",
            advice="give a PEM certificate, or leave the key out: with Postgres it has no effect",
        )


def _reps(config: UpstreamConfig) -> Iterator[Problem]:
    files = rep_files(config)
    if files is not None and (error := _unfit(files)):
        yield Problem(
            step=REPS,
            action="new-rep-client-factory-failed",
            error=error,
            key="rep_ca_cert, rep_client_cert, rep_client_key",
            advice="give files that can be read, a certificate that is valid now, and its key",
        )


def _auctioneer(config: UpstreamConfig) -> Iterator[Problem]:
    key = "auctioneer_address"
    if not config.auctioneer_address:
        yield Problem(
            step=AUCTIONEER,
            action="auctioneer-address-validation-failed",
            error="auctioneerAddress is required",
            key=key,
            advice="give its URL, for example https://auctioneer.service.cf.internal:9016",
        )
    elif urlsplit(config.auctioneer_address).scheme not in ("http", "https"):
        yield Problem(
            step=AUCTIONEER,
            action="auctioneer-address-validation-failed",
            error=f"not an http or https URL: {config.auctioneer_address}",
            key=key,
            advice="begin it with https://",
        )
    files = auctioneer_files(config)
    if files is not None and (error := _unfit(files)):
        yield Problem(
            step=AUCTIONEER,
            action="failed-to-construct-auctioneer-client",
            error=error,
            key="auctioneer_ca_cert, auctioneer_client_cert, auctioneer_client_key",
            advice="give all three files, or none of them",
        )


def _access_log(config: UpstreamConfig) -> Iterator[Problem]:
    """Does not open the file, which would make it: that is for the server to do."""
    path = config.access_log_path
    if not path:
        return
    error = ""
    if os.path.isdir(path):
        error = "is a directory"
    elif not os.path.exists(path) and not os.path.isdir(os.path.dirname(path) or "."):
        error = "no such file or directory"
    elif not os.access(path if os.path.exists(path) else os.path.dirname(path) or ".", os.W_OK):
        error = "permission denied"
    if error:
        yield Problem(
            step=ACCESS_LOG,
            action="invalid-access-log-path",
            error=f"open {path}: {error}",
            key="access_log_path",
            advice="give a file in a directory that this user may write to, or leave the key out",
            exit_code=EXIT_FAILED,
            data=(("access-log-path", path),),
        )


def _server_tls(config: UpstreamConfig) -> Iterator[Problem]:
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


def _locket(config: UpstreamConfig) -> Iterator[Problem]:
    if not config.locket_address:
        yield Problem(
            step=LOCKET,
            action="invalid-locket-config",
            error="",
            key="locket_address",
            advice="give host:port, for example locket.service.cf.internal:8891",
        )
        return
    if error := _unfit(locket_files(config)):
        yield Problem(
            step=LOCKET,
            action="failed-to-create-locket-client",
            error=error,
            key="locket_ca_cert_file, locket_client_cert_file, locket_client_key_file",
            advice="give all three files, and a certificate that is valid now",
        )


def _uuid(config: UpstreamConfig) -> Iterator[Problem]:
    if not config.uuid:
        yield Problem(
            step=UUID,
            action="invalid-uuid",
            error="invalid-uuid-from-config",
            key="uuid",
            advice="give a text that no other instance has, such as the BOSH instance id",
        )


def _tickers(config: UpstreamConfig) -> Iterator[Problem]:
    if config.report_interval_ns <= 0:
        yield Problem(
            step=TICKERS,
            action="",
            error="non-positive interval for NewTicker",
            key="report_interval",
            advice='give a duration above zero, such as "1m"',
        )


def _members(config: UpstreamConfig) -> Iterator[Problem]:
    for key, address in (("debug_address", config.debug_address), ("listen_address", config.listen_address)):
        if not address:
            continue  # no debug server; any free port
        try:
            split_address(address)
        except (AddressInvalid, PortUnknown) as error:
            yield Problem(
                step=MEMBERS,
                action="exited-with-failure",
                error=f"listen tcp: {error}",
                key=key,
                advice="give host:port, for example 0.0.0.0:8889",
                exit_code=EXIT_FAILED,
            )
    if config.task_callback_workers < 1:
        yield Problem(
            step=MEMBERS,
            action="exited-with-failure",
            error=f"must provide positive maxWorkers; provided {config.task_callback_workers}",
            key="task_callback_workers",
            advice="give a number above zero, such as 1000",
            exit_code=EXIT_FAILED,
        )


def _unfit(files: TLSFiles) -> str:
    """What is wrong with a client's files, or ''."""
    try:
        client_context(ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file)
    except TLSFilesInvalid as error:
        return str(error)
    return ""
