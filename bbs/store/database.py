"""Which kind of database there is, and the ways in which it is used: a process writes, audits and asks for
its health, and a copy takes the rows as they are stored.

What needs the MySQL driver, which is an extra, is imported when a connection string is for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bbs.store.backend import Backend, DroppedRow, LogEnd, Source
from bbs.store.copying import Tables
from bbs.store.crypto import Keyring
from bbs.store.dsn import DSN, BadConnectionString, parse_dsn
from bbs.store.foreign_changes import DatabaseAudit
from bbs.store.health_check import Probe
from bbs.store.mysql.dsn import MySQLDSN, parse_mysql_dsn, parse_mysql_url
from bbs.store.postgres import PostgresBackend
from bbs.store.postgres_audit import PostgresAudit
from bbs.store.postgres_changes import PostgresChanges
from bbs.store.postgres_probe import postgres_probe
from bbs.store.postgres_tables import PostgresTables
from bbs.store.primaries import Primaries
from bbs.store.query_statistics import QueryStatistics
from bbs.store.schema import OnMigration
from bbs.store.tokens import Token

DRIVERS: Final = ("postgres", "mysql")

STATEMENT_S: Final = 10.0
"""The most that a statement may take, on either kind of database."""

INSTALL_MYSQL: Final = "the driver for MySQL is not installed: pip install 'bbs[mysql]'"


def nothing(action: str, data: dict[str, int]) -> None:
    """What a migration is told to that nobody wants to hear of."""


class WriterBackend(Backend, Source, Protocol):
    """What a process needs of its backend beside what its store does."""

    async def prepare(self) -> None:
        """Check that the database can be reached and written to, before anything depends on it, by making the table
        ``configurations``. Every process does so, also one that is going to wait for the lock (spec: config.md §4, steps 7
        and 8).

        Raises:
          BackendUnavailable: it can't be reached, or not as whom we are told to be.
          StatementRejected: it does not let us make a table.
        """

    async def take_writer_lock(self) -> None:
        """As `acquire_writer_lock`, for a process that Locket says is master: whoever still holds the lock is ended."""

    def fence(self, reason: str) -> None:
        """Write nothing from now on: this process is master no longer. What is under way is broken off.

        Every later call raises `WriterLockLost` with ``reason``. Does not block, so that nothing of this process can run
        between the loss of Locket's lock and this.
        """

    async def stored_key_label(self) -> str:
        """The label of the key that all values are sealed with; '' if that is not known. Call it before `load`."""

    async def record_key_label(self) -> None:
        """Store the label of the active key, with which all values are sealed by now.

        Raises:
          BackendUnavailable, StatementRejected: it was not stored, or that is not known.
          WriterLockLost: somebody else is the writer, and nothing was changed.
        """

    def query_statistics(self) -> QueryStatistics:
        """Counts and durations of calls to the database. The maxima are since the last call of this."""

    async def end_of_log(self) -> LogEnd | None:
        """How far somebody who follows the database's log must have come to have everything that was committed until now.
        None if there is no such log.

        Raises:
          BackendUnavailable: try again.
          WriterLockLost: somebody else is the writer.
        """

    @property
    def token(self) -> Token | None:
        """A place in the database's log: whoever has come to it knows of all that `write` has returned from, and all that was
        there when the writer lock was taken. None while nobody follows the log, or can.
        """

    @property
    def server_version(self) -> str:
        """Name and version of the server, such as ``PostgreSQL 18.0``, as it was at the last connection; '' before any."""

    @property
    def connects(self) -> int:
        """Sessions opened since the start."""


class Database(Protocol):
    """Where the rows are, and how to get at them. Nothing connects before it is asked to."""

    def backend(
        self,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None] = lambda row: None,
        on_migration: OnMigration = nothing,
    ) -> WriterBackend:
        """A way to write: see `WriterBackend`. ``on_dropped`` hears of rows that a load leaves out, ``on_migration`` of every
        step to the present schema.
        """

    def changes(self, keyring: Keyring) -> PostgresChanges | None:
        """The way to follow what is committed, whoever does it. None where there is none, whatever the settings."""

    def audit(self) -> DatabaseAudit: ...

    def probe(self, *, connect_s: float) -> Probe[Any]: ...

    def tables(self) -> Tables: ...


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A `Database` on Postgres. What one of its backends sees of the cluster's primaries holds for the audit, too."""

    dsn: DSN
    primaries: Primaries

    def backend(
        self,
        keyring: Keyring,
        *,
        on_dropped: Callable[[DroppedRow], None] = lambda row: None,
        on_migration: OnMigration = nothing,
    ) -> PostgresBackend:
        return PostgresBackend(
            self.dsn, keyring, on_dropped=on_dropped, on_migration=on_migration, primaries=self.primaries
        )

    def changes(self, keyring: Keyring) -> PostgresChanges:
        return PostgresChanges(self.dsn, keyring)

    def audit(self) -> PostgresAudit:
        return PostgresAudit(self.dsn, self.primaries)

    def probe(self, *, connect_s: float) -> Probe[Any]:
        return postgres_probe(self.dsn, connect_s=connect_s)

    def tables(self) -> PostgresTables:
        return PostgresTables(self.dsn)


@dataclass(frozen=True, slots=True, kw_only=True)
class MySQLOptions:
    """What an upstream configuration says of MySQL beside the connection string. Seconds; zero is no word.

    With a ``ca_file`` the server has to offer TLS and to have a certificate of that CA, and with ``verify_identity`` one for
    the host that is connected to.
    """

    ca_file: str | None = None
    verify_identity: bool = False
    connect_s: float = 0.0
    read_s: float = 0.0


def database_of(driver: str, connection_string: str, options: MySQLOptions) -> Database:
    """Understand an upstream configuration's ``database_driver`` and ``database_connection_string``.

    Raises:
      BadConnectionString: the string, or what it needs that is not here.
    """
    assert driver in DRIVERS, driver
    if driver == "postgres":
        return _postgres(parse_dsn(connection_string))
    return _mysql(parse_mysql_dsn(connection_string), options)


def database_at(url: str) -> Database:
    """Understand a URL, ``mysql://…`` or whatever Postgres takes.

    Raises:
      BadConnectionString: the URL, or what it needs that is not here.
    """
    if url.startswith("mysql://"):
        return _mysql(parse_mysql_url(url), MySQLOptions())
    return _postgres(parse_dsn(url))


def _postgres(dsn: DSN) -> Database:
    return PostgresDatabase(dsn, Primaries(dsn))


def _mysql(dsn: MySQLDSN, options: MySQLOptions) -> Database:
    try:
        from bbs.store.mysql.database import MySQLDatabase
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("asyncmy"):
            raise
        raise BadConnectionString(INSTALL_MYSQL) from error
    if options.ca_file is not None:
        try:
            dsn = dsn.with_ca(options.ca_file, verify_identity=options.verify_identity)
        except (OSError, ValueError) as error:
            raise BadConnectionString(f"the certificates for the database can't be used: {error}") from error
    more = {}
    if options.connect_s > 0:
        more["connect_s"] = options.connect_s
    if options.read_s > 0:
        more["statement_s"] = min(options.read_s, STATEMENT_S)
    return MySQLDatabase(dsn, **more)
