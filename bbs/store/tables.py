"""The tables in memory: every row, filed under its key and under whatever the operations ask by.

A table holds references to immutable records, so handing one out is free and a snapshot is a list of references.
Every index is kept up to date by `put` and `delete` and must always agree with a scan of the rows.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Generic, TypeVar

from sortedcontainers import SortedDict

from bbs.models.actual_lrp import ActualLRP, ActualLRPKey, Presence, Rows
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record, Row, RowKey

RecordT = TypeVar("RecordT")


class Index(Generic[RecordT]):
    """Rows filed under one attribute of theirs; rows whose attribute is empty are left out."""

    __slots__ = ("_attribute", "_filed")

    def __init__(self, attribute: Callable[[RecordT], str]) -> None:
        self._attribute = attribute
        self._filed: dict[str, dict[object, RecordT]] = {}

    def add(self, key: object, record: RecordT) -> None:
        if value := self._attribute(record):
            rows = self._filed.get(value)
            if rows is None:
                self._filed[value] = {key: record}
            else:
                rows[key] = record

    def discard(self, key: object, record: RecordT) -> None:
        if value := self._attribute(record):
            rows = self._filed[value]
            del rows[key]
            if not rows:
                del self._filed[value]

    def __getitem__(self, value: str) -> Collection[RecordT]:
        """The rows filed under ``value``: live, so copy before any checkpoint."""
        rows = self._filed.get(value)
        return rows.values() if rows is not None else ()

    def __len__(self) -> int:
        return len(self._filed)

    def items(self) -> Iterator[tuple[str, Collection[RecordT]]]:
        return ((value, rows.values()) for value, rows in self._filed.items())


class ActualLRPTable:
    __slots__ = ("by_cell", "by_domain", "by_process_guid", "rows")

    def __init__(self) -> None:
        self.rows: dict[ActualLRPKey, ActualLRP] = {}
        self.by_process_guid: Index[ActualLRP] = Index(lambda lrp: lrp.process_guid)
        self.by_cell: Index[ActualLRP] = Index(lambda lrp: lrp.instance.cell_id)
        self.by_domain: Index[ActualLRP] = Index(lambda lrp: lrp.domain)

    def put(self, key: ActualLRPKey, lrp: ActualLRP) -> None:
        before = self.rows.get(key)
        if before is not None:
            self._discard_from_indexes(key, before)
        self.rows[key] = lrp
        self.by_process_guid.add(key, lrp)
        self.by_cell.add(key, lrp)
        self.by_domain.add(key, lrp)

    def delete(self, key: ActualLRPKey) -> None:
        lrp = self.rows.pop(key, None)
        if lrp is not None:
            self._discard_from_indexes(key, lrp)

    def rows_at(self, process_guid: str, index: int) -> Rows:
        """All rows of one instance."""
        get = self.rows.get
        return Rows(
            get(ActualLRPKey(process_guid, index, Presence.ORDINARY)),
            get(ActualLRPKey(process_guid, index, Presence.EVACUATING)),
            get(ActualLRPKey(process_guid, index, Presence.SUSPECT)),
        )

    def _discard_from_indexes(self, key: ActualLRPKey, lrp: ActualLRP) -> None:
        self.by_process_guid.discard(key, lrp)
        self.by_cell.discard(key, lrp)
        self.by_domain.discard(key, lrp)


class DesiredLRPTable:
    """Rows are kept in the order of their process guids: an app guid is a prefix of those of its processes."""

    __slots__ = ("by_domain", "rows")

    def __init__(self) -> None:
        self.rows: SortedDict[str, DesiredLRP] = SortedDict()
        self.by_domain: Index[DesiredLRP] = Index(lambda lrp: lrp.domain)

    def put(self, process_guid: str, lrp: DesiredLRP) -> None:
        before = self.rows.get(process_guid)
        if before is not None:
            self.by_domain.discard(process_guid, before)
        self.rows[process_guid] = lrp
        self.by_domain.add(process_guid, lrp)

    def delete(self, process_guid: str) -> None:
        lrp = self.rows.pop(process_guid, None)
        if lrp is not None:
            self.by_domain.discard(process_guid, lrp)

    def with_prefix(self, prefix: str) -> Iterator[DesiredLRP]:
        """The LRPs whose process guid starts with ``prefix``, in order. Costs what it yields."""
        for process_guid in self.rows.irange(minimum=prefix):
            if not process_guid.startswith(prefix):
                return
            yield self.rows[process_guid]


class DomainTable:
    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows: dict[str, Domain] = {}

    def put(self, name: str, domain: Domain) -> None:
        self.rows[name] = domain

    def delete(self, name: str) -> None:
        self.rows.pop(name, None)


class Tables:
    """All rows of one view: what readers see."""

    __slots__ = ("_by_class", "actual_lrps", "desired_lrps", "domains")

    def __init__(self) -> None:
        self.actual_lrps = ActualLRPTable()
        self.desired_lrps = DesiredLRPTable()
        self.domains = DomainTable()
        # A row's key and record fit the table that its class names; no type says so.
        self._by_class: dict[type[Record], Any] = {
            ActualLRP: self.actual_lrps,
            DesiredLRP: self.desired_lrps,
            Domain: self.domains,
        }

    def apply(self, rows: Iterable[Row]) -> None:
        for (table_class, key), record in rows:
            table = self._by_class[table_class]
            if record is None:
                table.delete(key)
            else:
                table.put(key, record)

    def get(self, row: RowKey) -> Record | None:
        """The row of that key, if there is one."""
        record: Record | None = self._by_class[row.table].rows.get(row.key)
        return record
