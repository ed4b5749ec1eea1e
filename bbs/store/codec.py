"""Records to rows and back: which record field lives in which column, and in which encoding (spec: storage.md §1, §3).

There is one `Table` per class of records, found through `table_of`; a new kind of record is a new `Table` and an entry
in `TABLES`. A row here is a tuple of column values in the order of ``Table.columns``. Columns that upstream no longer
uses (``evacuating`` and ``expire_time`` of ``actual_lrps``) are left to their defaults.

Sealed columns hold either JSON or an envelope: two bytes of which the second means nothing, then protobuf.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from operator import attrgetter, itemgetter
from sys import intern
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.actual_lrp import (
    ActualLRP,
    ActualLRPKey,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.errors import InvalidRequest, UnknownError
from bbs.models.outcome import Record, Row, put
from bbs.models.task import Task, TaskState
from bbs.models.wire import decode as decode_message
from bbs.models.wire import encode as encode_message
from bbs.store import json_columns as jsonc
from bbs.store.crypto import Keyring

ENVELOPE: Final = b"\x02\x00"

Values = tuple[Any, ...]
"""Column values of one row, or of one key: text, integers, booleans."""

T = TypeVar("T")
M = TypeVar("M", bound=Message)


class SQLType(StrEnum):
    """Types of columns, as the arrays that a batch is sent in are cast to."""

    TEXT = "text"
    INT4 = "int4"
    INT8 = "int8"
    BOOL = "bool"


class Column(NamedTuple):
    """``characters_max`` is the width of a varchar column; columns of type text have none."""

    name: str
    type: SQLType
    characters_max: int | None = None
    sealed: bool = False


class Policy(StrEnum):
    """What becomes of a row that can't be read, as it would in upstream's lists (spec: storage.md §5)."""

    DELETE = "delete"
    LEAVE_OUT = "leave out"
    """It stays in the table, and nobody sees it."""


class Undecodable(Exception):
    """A stored row does not make a record. ``key`` has the values of the table's key columns."""

    def __init__(self, table: str, key: Values, reason: str, policy: Policy) -> None:
        super().__init__(f"{table} {key}: {reason}")
        self.table = table
        self.key = key
        self.reason = reason
        self.policy = policy


class Table(ABC):
    """How records of one class are stored. The first columns are the primary key, the last ones are sealed."""

    name: str
    columns: tuple[Column, ...]
    key_columns: int = 1

    # For `check`, which every write goes through: the plain values of a kind, picked out at C speed.
    texts: Callable[[Values], Values]
    texts_by_width: tuple[tuple[int, Callable[[Values], Values]], ...]
    numbers: tuple[tuple[str, Callable[[Values], Values], int, int], ...]

    def __init__(self) -> None:
        assert [column.sealed for column in self.columns] == sorted(column.sealed for column in self.columns)
        plain = [column for column in self.columns if not column.sealed]
        self.texts = _picker([column.type is SQLType.TEXT for column in plain])
        self.texts_by_width = tuple(
            (width, _picker([column.characters_max == width for column in plain]))
            for width in sorted(
                {column.characters_max for column in plain if column.characters_max is not None}
            )
        )
        self.numbers = tuple(
            (
                kind,
                _picker([column.type is number for column in plain]),
                -(2 ** (bits - 1)),
                2 ** (bits - 1) - 1,
            )
            for kind, number, bits in (("integer", SQLType.INT4, 32), ("bigint", SQLType.INT8, 64))
            if any(column.type is number for column in plain)
        )

    @property
    def key(self) -> tuple[Column, ...]:
        return self.columns[: self.key_columns]

    @abstractmethod
    def key_values(self, key: Any) -> Values:
        """The key columns' values for a record's key."""

    @abstractmethod
    def plain(self, record: Any) -> Values:
        """The values of the columns that are not sealed. Cheap."""

    @abstractmethod
    def encode(self, record: Any, keyring: Keyring) -> Values:
        """The column values of ``record``."""

    @abstractmethod
    def decode(self, row: Sequence[Any], keyring: Keyring) -> Record:
        """The record of a row.

        Raises:
          Undecodable: which also says what becomes of the row.
        """

    def unreadable(self, row: Sequence[Any], column: str, error: Exception, policy: Policy) -> Undecodable:
        reason = str(error) or type(error).__name__
        return Undecodable(self.name, tuple(row[: self.key_columns]), f"{column}: {reason}", policy)


def check(record: Record) -> None:
    """Refuse what Postgres would refuse, so that no batch fails because of one row in it (spec: storage.md §6).

    Stricter in one thing: varchar quietly cuts blanks off that don't fit, which memory would never learn of.

    Raises:
      InvalidRequest: a text has more characters than its column.
      UnknownError: with Postgres' own words, for a NUL in a text or a number out of range.
    """
    table = TABLES[type(record)]
    values = table.plain(record)
    # Numbers and NULs are found while a statement's parameters are read, lengths only when it runs.
    if "\0" in "".join(table.texts(values)):
        raise UnknownError('ERROR: invalid byte sequence for encoding "UTF8": 0x00 (SQLSTATE 22021)')
    for kind, numbers, low, high in table.numbers:
        taken = numbers(values)
        if min(taken) < low or max(taken) > high:
            raise UnknownError(f"ERROR: {kind} out of range (SQLSTATE 22003)")
    for characters_max, texts in table.texts_by_width:
        if max(map(len, texts(values))) > characters_max:
            raise InvalidRequest


def _picker(chosen: Sequence[bool]) -> Callable[[Values], Values]:
    """What picks the values of the chosen columns, at least one, out of a row."""
    positions = [position for position, is_chosen in enumerate(chosen) if is_chosen]
    if len(positions) == 1:
        (only,) = positions
        return lambda values: (values[only],)
    return itemgetter(*positions)


class DomainTable(Table):
    name = "domains"
    columns = (Column("domain", SQLType.TEXT, 255), Column("expire_time", SQLType.INT8))

    def key_values(self, key: str) -> Values:
        return (key,)

    def plain(self, record: Domain) -> Values:
        return record.name, record.expire_time_ns

    def encode(self, record: Domain, keyring: Keyring) -> Values:
        return self.plain(record)

    def decode(self, row: Sequence[Any], keyring: Keyring) -> Domain:
        name, expire_time_ns = row
        return Domain(name=name, expire_time_ns=expire_time_ns or 0)


class DesiredLRPTable(Table):
    name = "desired_lrps"
    columns = (
        Column("process_guid", SQLType.TEXT, 255),
        Column("domain", SQLType.TEXT, 255),
        Column("log_guid", SQLType.TEXT, 255),
        Column("annotation", SQLType.TEXT),
        Column("instances", SQLType.INT4),
        Column("memory_mb", SQLType.INT4),
        Column("disk_mb", SQLType.INT4),
        Column("rootfs", SQLType.TEXT, 1024),
        Column("modification_tag_epoch", SQLType.TEXT, 255),
        Column("modification_tag_index", SQLType.INT4),
        Column("placement_tags", SQLType.TEXT),
        Column("max_pids", SQLType.INT4),
        Column("update_strategy", SQLType.INT4),
        Column("routes", SQLType.TEXT, sealed=True),
        Column("volume_placement", SQLType.TEXT, sealed=True),
        Column("run_info", SQLType.TEXT, sealed=True),
        Column("metric_tags", SQLType.TEXT, sealed=True),
    )

    def key_values(self, key: str) -> Values:
        return (key,)

    def encode(self, record: DesiredLRP, keyring: Keyring) -> Values:
        seal = keyring.seal
        return (
            *self.plain(record),
            seal(jsonc.dump_routes(record.routes)),
            seal(ENVELOPE + encode_message(pb.VolumePlacement(driver_names=record.volume_drivers))),
            seal(ENVELOPE + record.run_info),
            seal(jsonc.dump_metric_tags(record.metric_tags)),
        )

    def plain(self, record: DesiredLRP) -> Values:
        return (
            record.process_guid,
            record.domain,
            record.log_guid,
            record.annotation,
            record.instances,
            record.memory_mb,
            record.disk_mb,
            record.rootfs,
            record.tag.epoch,
            record.tag.index,
            jsonc.dump_strings(record.placement_tags).decode(),
            record.max_pids,
            record.update_strategy,
        )

    def decode(self, row: Sequence[Any], keyring: Keyring) -> DesiredLRP:
        (
            process_guid, domain, log_guid, annotation, instances, memory_mb, disk_mb, rootfs, epoch, index,
            placement_tags, max_pids, update_strategy, routes, volume_placement, run_info, metric_tags,
        ) = row  # fmt: skip

        def read(column: str, load: Callable[[], T], policy: Policy = Policy.LEAVE_OUT) -> T:
            try:
                return load()
            except (ValueError, RecursionError) as error:
                raise self.unreadable(row, column, error, policy) from error

        def volume_drivers() -> tuple[str, ...]:
            return tuple(_open_envelope(pb.VolumePlacement, keyring.open(volume_placement)).driver_names)

        def opened_run_info() -> bytes:
            opened = keyring.open(run_info)
            _open_envelope(pb.DesiredLRPRunInfo, opened)
            # As it is, with fields that a newer version may have put there and will want back.
            return opened[len(ENVELOPE) :]

        return DesiredLRP(
            process_guid=process_guid,
            domain=domain,
            log_guid=log_guid,
            annotation=annotation or "",
            instances=instances,
            memory_mb=memory_mb,
            disk_mb=disk_mb,
            max_pids=max_pids or 0,
            rootfs=rootfs,
            routes=read("routes", lambda: jsonc.load_routes(keyring.open(routes))),
            volume_drivers=read("volume_placement", volume_drivers),
            placement_tags=read(
                "placement_tags",
                lambda: jsonc.load_strings(placement_tags.encode()) if placement_tags else None,
            ),
            metric_tags=read(
                "metric_tags",
                lambda: jsonc.load_metric_tags(keyring.open(metric_tags)) if metric_tags else (),
            ),
            update_strategy=update_strategy,
            # Last: a row that has something else wrong as well is rather left alone than deleted.
            run_info=read("run_info", opened_run_info, Policy.DELETE),
            tag=ModificationTag(epoch=epoch, index=index or 0),
        )


class ActualLRPTable(Table):
    name = "actual_lrps"
    columns = (
        Column("process_guid", SQLType.TEXT, 255),
        Column("instance_index", SQLType.INT4),
        Column("presence", SQLType.INT4),
        Column("domain", SQLType.TEXT, 255),
        Column("state", SQLType.TEXT, 255),
        Column("instance_guid", SQLType.TEXT, 255),
        Column("cell_id", SQLType.TEXT, 255),
        Column("placement_error", SQLType.TEXT, 1024),
        Column("since", SQLType.INT8),
        Column("modification_tag_epoch", SQLType.TEXT, 255),
        Column("modification_tag_index", SQLType.INT4),
        Column("crash_count", SQLType.INT4),
        Column("crash_reason", SQLType.TEXT, 1024),
        Column("routable", SQLType.BOOL),
        Column("availability_zone", SQLType.TEXT, 255),
        Column("net_info", SQLType.TEXT, sealed=True),
        Column("internal_routes", SQLType.TEXT, sealed=True),
        Column("metric_tags", SQLType.TEXT, sealed=True),
    )
    key_columns = 3

    def key_values(self, key: ActualLRPKey) -> Values:
        return key.process_guid, key.instance_index, int(key.presence)

    def encode(self, record: ActualLRP, keyring: Keyring) -> Values:
        seal = keyring.seal
        return (
            *self.plain(record),
            seal(ENVELOPE + record.net_info),
            seal(jsonc.dump_internal_routes(record.internal_routes)),
            seal(jsonc.dump_string_map(record.metric_tags)),
        )

    def plain(self, record: ActualLRP) -> Values:
        return (
            record.process_guid,
            record.index,
            int(record.presence),
            record.domain,
            record.state.value,
            record.instance.instance_guid,
            record.instance.cell_id,
            record.placement_error,
            record.since_ns,
            record.tag.epoch,
            record.tag.index,
            record.crash_count,
            record.crash_reason,
            record.routable,
            record.availability_zone,
        )

    def decode(self, row: Sequence[Any], keyring: Keyring) -> ActualLRP:
        (
            process_guid, index, presence, domain, state, instance_guid, cell_id, placement_error, since_ns, epoch,
            tag_index, crash_count, crash_reason, routable, availability_zone, net_info, internal_routes, metric_tags,
        ) = row  # fmt: skip
        try:
            known_presence, known_state = Presence(presence), ActualLRPState(state)
        except ValueError as error:
            # Upstream would read it, so deleting is not for us to do.
            raise self.unreadable(row, "presence, state", error, Policy.LEAVE_OUT) from error
        column = "net_info"
        try:
            # Written anew, since a start compares it byte by byte with what a cell reports.
            opened_net_info = (
                encode_message(_open_envelope(pb.ActualLRPNetInfo, keyring.open(net_info)))
                if net_info
                else b""
            )
            column = "internal_routes"
            opened_routes = (
                jsonc.load_internal_routes(keyring.open(internal_routes)) if internal_routes else ()
            )
            column = "metric_tags"
            opened_tags = jsonc.load_string_map(keyring.open(metric_tags)) if metric_tags else ()
        except (ValueError, RecursionError) as error:
            raise self.unreadable(row, column, error, Policy.DELETE) from error
        return ActualLRP(
            process_guid=process_guid,
            index=index,
            # Few values in many rows: one copy of each is enough.
            domain=intern(domain),
            presence=known_presence,
            state=known_state,
            instance=InstanceKey(instance_guid=instance_guid, cell_id=intern(cell_id)),
            net_info=opened_net_info,
            internal_routes=opened_routes,
            metric_tags=opened_tags,
            routable=bool(routable),
            availability_zone=intern(availability_zone),
            crash_count=crash_count,
            crash_reason=crash_reason,
            placement_error=placement_error,
            since_ns=since_ns or 0,
            tag=ModificationTag(epoch=epoch, index=tag_index or 0),
        )


class TaskTable(Table):
    """A task whose definition can't be read is a record all the same: it must be refused, and go in its time."""

    name = "tasks"
    columns = (
        Column("guid", SQLType.TEXT, 255),
        Column("domain", SQLType.TEXT, 255),
        Column("created_at", SQLType.INT8),
        Column("updated_at", SQLType.INT8),
        Column("first_completed_at", SQLType.INT8),
        Column("state", SQLType.INT4),
        Column("cell_id", SQLType.TEXT, 255),
        Column("result", SQLType.TEXT),
        Column("failed", SQLType.BOOL),
        Column("failure_reason", SQLType.TEXT, 1024),
        Column("rejection_count", SQLType.INT4),
        Column("rejection_reason", SQLType.TEXT, 1024),
        Column("task_definition", SQLType.TEXT, sealed=True),
    )

    def key_values(self, key: str) -> Values:
        return (key,)

    def encode(self, record: Task, keyring: Keyring) -> Values:
        return *self.plain(record), record.unreadable or keyring.seal(ENVELOPE + record.definition)

    def plain(self, record: Task) -> Values:
        return _plain_of_task(record)

    def decode(self, row: Sequence[Any], keyring: Keyring) -> Task:
        (
            task_guid, domain, created_at, updated_at, first_completed_at, state, cell_id, result, failed,
            failure_reason, rejection_count, rejection_reason, task_definition,
        ) = row  # fmt: skip
        try:
            known_state = TaskState(state or 0)
        except ValueError as error:
            raise self.unreadable(row, "state", error, Policy.LEAVE_OUT) from error
        definition, unreadable = b"", ""
        try:
            opened = keyring.open(task_definition)
            _open_envelope(pb.TaskDefinition, opened)
            # As it is, with fields that a newer version may have put there and will want back.
            definition = opened[len(ENVELOPE) :]
        except (ValueError, RecursionError):
            unreadable = task_definition or UNREADABLE_BLANK
        return Task(
            task_guid=task_guid,
            domain=intern(domain),
            created_at_ns=created_at or 0,
            updated_at_ns=updated_at or 0,
            first_completed_at_ns=first_completed_at or 0,
            state=known_state,
            cell_id=intern(cell_id),
            result=result or "",
            failed=bool(failed),
            failure_reason=failure_reason,
            rejection_count=rejection_count,
            rejection_reason=rejection_reason,
            definition=definition,
            unreadable=unreadable,
        )


_plain_of_task: Callable[[Task], Values] = attrgetter(
    "task_guid", "domain", "created_at_ns", "updated_at_ns", "first_completed_at_ns", "state", "cell_id", "result",
    "failed", "failure_reason", "rejection_count", "rejection_reason",
)  # fmt: skip

UNREADABLE_BLANK: Final = " "
"""What an empty column is kept as: as unreadable, and not empty."""


def _open_envelope(message_class: type[M], plaintext: bytes) -> M:
    """The message in an envelope, whose two leading bytes may be anything, but must be there."""
    if len(plaintext) < len(ENVELOPE):
        raise ValueError("the envelope is cut short")
    try:
        return decode_message(message_class, plaintext[len(ENVELOPE) :])
    except InvalidRequest as error:
        raise ValueError(f"not a {message_class.DESCRIPTOR.full_name}") from error


TABLES: Final[dict[type[Record], Table]] = {
    Domain: DomainTable(),
    DesiredLRP: DesiredLRPTable(),
    ActualLRP: ActualLRPTable(),
    Task: TaskTable(),
}


def decode_rows(
    table: Table, stored: Iterable[Sequence[Any]], keyring: Keyring
) -> tuple[list[Row], list[Undecodable]]:
    """The rows that can be read, and what is wrong with the others."""
    rows, undecodable = [], []
    for values in stored:
        try:
            rows.append(put(table.decode(values, keyring)))
        except Undecodable as error:
            undecodable.append(error)
    return rows, undecodable
