"""What a database must have for its changes to be followed: settings, rights, a publication of our four tables.

A *publication* says which changes of which tables are sent. Ours is made when it is missing and we may; one that an operator
has made is taken if it has all we need. It stays when a follower ends, and costs nothing by itself.

All this is looked at in an ordinary session, which can say what is wrong; and again and again while a stream runs. The stream
itself says nothing when a table is taken out of the publication, or when the publication is dropped (from version 18 on; the
ones before end the stream): its changes just do not come any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from bbs.models.outcome import Record
from bbs.store.backend import BackendUnavailable
from bbs.store.changes.connecting import APPLICATION_NAME
from bbs.store.changes.errors import CannotFollow
from bbs.store.changes.session import Refused, Session
from bbs.store.codecs import CODECS
from bbs.store.log_queries import END_OF_LOG, TIMELINE
from bbs.store.positions import position_of
from bbs.store.schema import VERSION_ID

PUBLICATION: Final = "bbs"

SURVEY_S: Final = 30.0
"""How long a question may take. It is generous: to give up ends a stream, and a new one loads everything from a server that
is slow already.
"""

VERSION_MIN: Final = 11_00_00
"""The first with ``TRUNCATE`` in publications."""

COLUMN_LISTS: Final = 15_00_00
"""The first whose publications may leave out columns, rows, or name whole schemas."""

MAKE: Final = "CREATE PUBLICATION {name} FOR TABLE {tables}"
EXISTS: Final = ("42710", "23505")


@dataclass(frozen=True, slots=True)
class Table:
    """As it is in the database. ``identity`` has the columns that deleted rows come with; empty: all of them (``f``), or none.

    ``published`` has the columns that are sent, or is None if the table is not published; ``is_filtered``: not all rows are.
    """

    record_class: type[Record]
    oid: int
    schema: str
    replica_identity: str
    identity: frozenset[str]
    columns: frozenset[str] = field(compare=False)
    published: frozenset[str] | None = field(compare=False)
    is_published: bool
    is_filtered: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is. Two are equal if a stream that began with one of them is right with the other.

    ``version`` changes with each change of the publication, whatever it was. ``schema`` is the version of the tables, as it is
    stored.
    """

    wal_level: str
    publication: str
    version: str | None
    publishes_all: bool
    schema: str | None
    tables: tuple[Table, ...]
    missing_tables: tuple[str, ...]
    # What may change meanwhile: Patroni names another standby after a failover, say.
    synchronous_standbys: str = field(compare=False)
    may_replicate: bool = field(compare=False)
    wal_sender_timeout_s: float = field(compare=False)
    wal_senders: int = field(compare=False)
    wal_senders_max: int = field(compare=False)

    @property
    def by_oid(self) -> Mapping[int, type[Record]]:
        return {table.oid: table.record_class for table in self.tables}

    @property
    def schemas(self) -> frozenset[str]:
        return frozenset(table.schema for table in self.tables)


_SETTINGS: Final = """
SELECT current_setting('wal_level'), current_setting('synchronous_standby_names'),
  (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),
  (SELECT setting FROM pg_settings WHERE name = 'wal_sender_timeout'),
  (SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')"""

_SCHEMA: Final = f"SELECT value FROM configurations WHERE id = '{VERSION_ID}'"
NOT_TO_BE_READ: Final = ("42P01", "42501")
"""No such table; no permission. Whoever loads the rows finds out."""

_VERSION: Final = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate,
  concat_ws(' ', p.oid, p.xmin, (SELECT string_agg(concat(r.oid, ':', r.xmin), ' ' ORDER BY r.oid) FROM pg_publication_rel r
  WHERE r.prpubid = p.oid){schemas})
FROM pg_publication p WHERE pubname = {name}"""

_SCHEMAS: Final = """, (SELECT string_agg(concat(n.oid, ':', n.xmin), ' ' ORDER BY n.oid) FROM pg_publication_namespace n
  WHERE n.pnpubid = p.oid)"""

_TABLES: Final = """
SELECT t.name, c.oid, n.nspname, c.relreplident,
  (SELECT string_agg(a.attname, ',') FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
   WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END),
  (SELECT string_agg(a.attname, ',') FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  p.pubname IS NOT NULL, {columns}, {filter}
FROM unnest(string_to_array({tables}, ',')) AS t (name) JOIN pg_class c ON c.oid = to_regclass(t.name)
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication_tables p ON p.pubname = {name} AND p.schemaname = n.nspname AND p.tablename = c.relname
ORDER BY c.oid"""


async def survey(session: Session, publication: str = PUBLICATION) -> Survey:
    """Look at everything that following needs.

    Raises:
      BackendUnavailable: the server does not answer.
      CannotFollow: it is too old.
    """
    version = session.server_version
    if version < VERSION_MIN:
        raise CannotFollow(
            f"Postgres of version {version // 10_000} has no publications that are good enough"
        )
    name = _literal(publication)
    lists = version >= COLUMN_LISTS
    by_name = {codec.table: record_class for record_class, codec in CODECS.items()}
    try:
        [settings] = await session.fetch(_SETTINGS, within_s=SURVEY_S)
        rows = await session.fetch(
            _TABLES.format(
                name=name,
                tables=_literal(",".join(by_name)),
                columns="array_to_string(p.attnames, ',')" if lists else "NULL",
                filter="p.rowfilter IS NOT NULL" if lists else "false",
            ),
            within_s=SURVEY_S,
        )
        # After the tables: a publication that is made in between is there without tables, and not the other way around.
        found = await session.fetch(
            _VERSION.format(name=name, schemas=_SCHEMAS if lists else ""), within_s=SURVEY_S
        )
    except Refused as refusal:
        raise BackendUnavailable(f"the database can't be asked what is published: {refusal}") from refusal
    level, standbys, may_replicate, timeout_ms, senders, senders_max = settings
    tables = []
    for table, oid, schema, replica_identity, identity, columns, is_published, published, is_filtered in rows:
        tables.append(
            Table(
                record_class=by_name[table or ""],
                oid=int(oid or 0),
                schema=schema or "",
                replica_identity=replica_identity or "",
                identity=_names(identity),
                columns=_names(columns),
                published=None if published is None else _names(published),
                is_published=is_published == "t",
                is_filtered=is_filtered == "t",
            )
        )
    there = {table.record_class for table in tables}
    return Survey(
        wal_level=level or "",
        synchronous_standbys=standbys or "",
        may_replicate=may_replicate == "t",
        publication=publication,
        version=found[0][1] if found else None,
        publishes_all=bool(found) and found[0][0] == "t",
        schema=await _schema(session),
        tables=tuple(tables),
        missing_tables=tuple(name for name, record_class in by_name.items() if record_class not in there),
        wal_sender_timeout_s=int(timeout_ms or 0) / 1_000,
        wal_senders=int(senders or 0),
        wal_senders_max=int(senders_max or 0),
    )


async def _schema(session: Session) -> str | None:
    try:
        rows = await session.fetch(_SCHEMA, within_s=SURVEY_S)
    except Refused as refusal:
        if refusal.state in NOT_TO_BE_READ:
            return None
        raise BackendUnavailable(
            f"the database can't be asked of which version it is: {refusal}"
        ) from refusal
    return rows[0][0] if rows else None


async def must_not_be_before(session: Session, timeline: int) -> None:
    """Whether the server is on this timeline or a later one: it may have been the primary before another one that we have seen,
    and go on as if it still were.

    Raises:
      BackendUnavailable: it is on an earlier one, or does not answer.
    """
    try:
        [(name,)] = await session.fetch(f"SELECT {TIMELINE}", within_s=SURVEY_S)
    except Refused as refusal:
        raise BackendUnavailable(f"the database can't be asked for its timeline: {refusal}") from refusal
    if name is not None and int(name, 16) < timeline:
        raise BackendUnavailable(
            f"this server was the primary on timeline {int(name, 16)}; there has been one on {timeline} since"
        )


async def end_of_log(session: Session) -> int:
    """A position that nothing stands behind of all that has been committed by now, as far as anybody has been told so.

    Raises:
      BackendUnavailable: the server does not answer.
    """
    try:
        [(position,)] = await session.fetch(f"SELECT {END_OF_LOG}", within_s=SURVEY_S)
    except Refused as refusal:
        raise BackendUnavailable(f"the database can't be asked how long its log is: {refusal}") from refusal
    return position_of(position or "0/0")


def must_be_followable(found: Survey) -> None:
    """Whether everything but the publication is as it has to be.

    Raises:
      CannotFollow: it is not; what to do.
    """
    if found.wal_level != "logical":
        raise CannotFollow(
            f"wal_level is {found.wal_level!r}: set wal_level = logical in the server's configuration, and start it again"
        )
    if _takes_anybody(found.synchronous_standbys):
        raise CannotFollow(
            f"synchronous_standby_names is {found.synchronous_standbys!r}: the server would take a follower, which keeps "
            "nothing, for a copy of the data. Name the standbys there in place of '*'"
        )
    if found.missing_tables:
        raise CannotFollow(
            f"there is no table {', '.join(found.missing_tables)}: a master makes them when it starts"
        )
    for table in found.tables:
        codec = CODECS[table.record_class]
        absent = [column.name for column in codec.columns if column.name not in table.columns]
        if absent:
            raise CannotFollow(
                f"table {codec.table} has no column {', '.join(absent)}: its schema is not of our version; a master migrates it"
            )
        key = [column.name for column in codec.key]
        if table.replica_identity != "f" and not table.identity.issuperset(key):
            # To publish it all the same would make the master's updates and deletes fail.
            raise CannotFollow(
                f"table {codec.table} has a replica identity without its key: ALTER TABLE {codec.table} ADD PRIMARY KEY "
                f"({', '.join(key)}), if it has none, and ALTER TABLE {codec.table} REPLICA IDENTITY DEFAULT"
            )


def must_cover(found: Survey) -> None:
    """Whether the publication has all changes of all our columns and rows.

    Raises:
      CannotFollow: it has not; what to do.
    """
    name = found.publication
    if found.version is None:
        raise CannotFollow(f"there is no publication {name}: {making(found)}, as the tables' owner")
    if not found.publishes_all:
        raise CannotFollow(
            f"publication {name} leaves out some changes: ALTER PUBLICATION {name} SET (publish = "
            "'insert, update, delete, truncate')"
        )
    for table in found.tables:
        codec = CODECS[table.record_class]
        if not table.is_published:
            raise CannotFollow(
                f"publication {name} does not have table {codec.table}: ALTER PUBLICATION {name} ADD TABLE {codec.table}"
            )
        if table.is_filtered:
            raise CannotFollow(
                f"publication {name} leaves out rows of table {codec.table}: take its WHERE away"
            )
        if table.published is not None:
            absent = [column.name for column in codec.columns if column.name not in table.published]
            if absent:
                raise CannotFollow(
                    f"publication {name} leaves out {', '.join(absent)} of table {codec.table}: take its list of columns away"
                )


def making(found: Survey) -> str:
    return MAKE.format(name=found.publication, tables=", ".join(codec.table for codec in CODECS.values()))


async def ensure_published(session: Session, publication: str = PUBLICATION) -> Survey:
    """See that everything is there, and make the publication if it is missing. One that lacks tables is given them, if it is
    ours to change: upstream's first migration makes the tables anew, and a table that is dropped leaves the publication.

    Raises:
      CannotFollow: something is missing; what to do.
      BackendUnavailable: the server does not answer.
    """
    found = await survey(session, publication)
    must_be_followable(found)
    absent = [CODECS[table.record_class].table for table in found.tables if not table.is_published]
    if absent:
        name = session.quoted(publication)
        statement = (
            MAKE.format(name=name, tables=", ".join(absent))
            if found.version is None
            else f"ALTER PUBLICATION {name} ADD TABLE {', '.join(absent)}"
        )
        try:
            await session.fetch(statement, within_s=SURVEY_S)
        except Refused as refusal:
            if refusal.state not in EXISTS:  # another follower was faster
                todo = making(found) if found.version is None else statement
                raise CannotFollow(
                    f"publication {publication} can't be made here ({refusal}): {todo}, as the tables' owner"
                ) from refusal
        found = await survey(session, publication)
    must_cover(found)
    return found


def no_replication(found: Survey, failure: BackendUnavailable) -> Exception:
    """What it means that no session for replication could be opened, going by what an ordinary one has ``found`` after that.
    libpq only has the server's words for it.
    """
    if found.wal_senders >= found.wal_senders_max:
        return CannotFollow(
            f"all {found.wal_senders_max} of max_wal_senders are in use: raise it, and start the server again ({failure})"
        )
    if not found.may_replicate:
        return CannotFollow(
            f"the database's user may not replicate ({failure}): ALTER ROLE … REPLICATION, as an administrator"
        )
    return failure


def slot_refused(refusal: Refused) -> CannotFollow:
    """What to say when there is no slot for us."""
    match refusal.state:
        case "53400":
            return CannotFollow(
                f"raise max_replication_slots, or drop a slot that nobody uses, see pg_replication_slots: {refusal}"
            )
        case _:
            return CannotFollow(f"no replication slot can be made: {refusal}")


def _takes_anybody(synchronous_standbys: str) -> bool:
    """Whether a standby of our name would do for a commit that waits for one."""
    names = synchronous_standbys.replace("(", ",").replace(")", ",").split(",")
    return any(name.strip().strip('"').lower() in ("*", APPLICATION_NAME) for name in names)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _names(text: str | None) -> frozenset[str]:
    return frozenset(text.split(",")) if text else frozenset()
