"""The database: its driver, its connection string, and the certificates it is checked against."""

from collections.abc import Iterator
from typing import Final

from bbs.config.checks.problem import DATABASE, Problem
from bbs.config.upstream import FILE_BYTES_MAX, UpstreamConfig
from bbs.store.database import DRIVERS, Database, MySQLOptions, database_of
from bbs.store.dsn import BadConnectionString

SECOND_NS: Final = 1_000_000_000

FORMS: Final = {
    "postgres": "postgres://user:password@host:port/database, or libpq's key=value form",
    "mysql": "user:password@tcp(host:port)/database",
}


def configured_database(config: UpstreamConfig) -> Database:
    """The database of a configuration that has no problem with it.

    Raises:
      BadConnectionString: it has.
    """
    return database_of(
        config.database_driver,
        config.database_connection_string,
        MySQLOptions(
            ca_file=config.sql_ca_cert_file or None,
            verify_identity=config.sql_enable_identity_verification,
            connect_s=config.db_connection_timeout_ns / SECOND_NS,
            read_s=config.db_read_timeout_ns / SECOND_NS,
        ),
    )


def database(config: UpstreamConfig) -> Iterator[Problem]:
    driver, text = config.database_driver, config.database_connection_string
    if not driver or not text:
        yield Problem(
            step=DATABASE,
            action="no-database-configured",
            error="no database configured",
            key="database_driver" if not driver else "database_connection_string",
            advice="set database_driver to postgres or mysql, and database_connection_string to where it is",
        )
        return
    if driver not in DRIVERS:
        yield Problem(
            step=DATABASE,
            action="invalid-driver-name",
            error=f"unknown driver: {driver}",
            key="database_driver",
            advice="set it to postgres or mysql",
            data=(("driver-name", driver),),
        )
        return
    try:
        database_of(driver, text, MySQLOptions())
    except BadConnectionString as error:
        yield Problem(
            step=DATABASE,
            action="invalid-db-connection-string",
            error=str(error),
            key="database_connection_string",
            advice=f"give {FORMS[driver]}",
        )
    yield from _database_ca(config)


def _database_ca(config: UpstreamConfig) -> Iterator[Problem]:
    path = config.sql_ca_cert_file
    if not path:
        return
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        yield Problem(
            step=DATABASE,
            action="failed-to-read-sql-ca-file",
            error=f"open {path}: {(reason or 'invalid argument').lower()}",
            key="sql_ca_cert_file",
            advice="give a readable file, or leave the key out: only with MySQL it has an effect",
        )
        return
    if b"-----BEGIN CERTIFICATE-----" not in content:
        yield Problem(
            step=DATABASE,
            action="failed-to-parse-sql-ca",
            error="no certificate in it",
            key="sql_ca_cert_file",
            advice="give a PEM certificate, or leave the key out: only with MySQL it has an effect",
        )
