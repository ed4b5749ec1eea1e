"""One instance of an app that does run, or will: the ActualLRP record.

A record is immutable and knows its own wire bytes, which are made at most once. Two records are the 'before' and
'after' of an event, and a view of the store is a dictionary of references to them.
"""

from dataclasses import field
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

from bbs.models import pb
from bbs.models.record import record
from bbs.models.wire import encode, frame


class Presence(IntEnum):
    """Which of the up to three rows of one instance this is (spec: actual-lrps.md §1)."""

    ORDINARY = 0
    """What an instance has as a rule."""
    EVACUATING = 1
    """Kept up while its cell drains."""
    SUSPECT = 2
    """Kept while its cell is missing and a replacement starts."""


class ActualLRPState(StrEnum):
    """How far an instance has come."""

    UNCLAIMED = "UNCLAIMED"
    """No cell has it."""
    CLAIMED = "CLAIMED"
    """A cell is about to start it."""
    RUNNING = "RUNNING"
    """Its cell has started it."""
    CRASHED = "CRASHED"
    """It has ended by itself so often that it is started again only after a while."""

    @property
    def is_held(self) -> bool:
        """Whether a cell has an instance that is in this state."""
        return self in _HELD


# A constant of the module, since looking a member up in its class takes several times as long as comparing it.
_HELD: Final = (ActualLRPState.CLAIMED, ActualLRPState.RUNNING)


class ActualLRPKey(NamedTuple):
    """What a row is filed under: unique among all rows."""

    process_guid: str
    instance_index: int
    presence: Presence


@record
class InstanceKey:
    """Which attempt at running an instance, and where. Both parts are empty while nobody has claimed it."""

    instance_guid: str
    cell_id: str

    @classmethod
    def from_message(cls, message: pb.ActualLRPInstanceKey) -> "InstanceKey":
        return cls(instance_guid=message.instance_guid, cell_id=message.cell_id)


NO_INSTANCE: Final = InstanceKey(instance_guid="", cell_id="")


@record
class ModificationTag:
    """Orders two versions of a record: the epoch is new with every record, the index grows by one with every change. Clients
    compare it to find out which of two events is the later one (`bbs.models.modification_tag`).
    """

    epoch: str
    index: int

    def next(self) -> "ModificationTag":
        return ModificationTag(epoch=self.epoch, index=self.index + 1)


LIST_ELEMENT: Final = 2
"""Field number under which every list and every single-record response carries its records."""


@record
class ActualLRP:
    """A row of ``actual_lrps`` (spec: actual-lrps.md §1).

    ``net_info`` is a serialised ``models.ActualLRPNetInfo``; ``b""`` is the empty one.
    ``internal_routes`` (host names) and ``metric_tags`` (sorted pairs) tell *absent* (``None``) from *empty* (``()``):
    the difference is stored, and a start compares it, but the wire cannot show it.
    ``since_ns`` is Unix time in nanoseconds.
    """

    process_guid: str
    index: int
    domain: str
    presence: Presence = Presence.ORDINARY
    state: ActualLRPState
    instance: InstanceKey = NO_INSTANCE
    net_info: bytes = b""
    internal_routes: tuple[str, ...] | None = ()
    metric_tags: tuple[tuple[str, str], ...] | None = ()
    routable: bool = False
    availability_zone: str = ""
    crash_count: int = 0
    crash_reason: str = ""
    placement_error: str = ""
    since_ns: int
    tag: ModificationTag
    # Made when first asked for, or in idle turns (`bbs.routes.ready_lists`), and kept: a list of a whole fleet is then a join
    # of bytes, where encoding 100,000 records for each request would take seconds. They cannot become stale, since a record
    # never changes: a change makes a new record. Not a part of equality, and left out by `replace` (``init=False``), so no
    # record inherits another one's bytes.
    kept_framed: bytes | None = field(default=None, init=False, repr=False, compare=False)
    """What `framed` gave, once somebody has asked for it."""

    @property
    def key(self) -> ActualLRPKey:
        return ActualLRPKey(self.process_guid, self.index, self.presence)

    @property
    def framed(self) -> bytes:
        """This record as one element of a list response, ready to be joined."""
        if self.kept_framed is None:
            # The class is frozen to everybody else.
            object.__setattr__(self, "kept_framed", frame(LIST_ELEMENT, encode(self.message())))
        assert self.kept_framed is not None
        return self.kept_framed

    def same_on_the_wire(self, other: "ActualLRP") -> bool:
        """Equality as events see it: absent and empty collections are the same (spec: actual-lrps.md §1).

        The bytes are compared, since they are what subscribers get; lists need the same bytes, so they are seldom made for
        this alone.
        """
        return self is other or self.framed == other.framed

    def message(self) -> pb.ActualLRP:
        message = pb.ActualLRP(
            crash_count=self.crash_count,
            crash_reason=self.crash_reason,
            state=self.state,
            placement_error=self.placement_error,
            since=self.since_ns,
            presence=int(self.presence),
            metric_tags=dict(self.metric_tags or ()),
            routable=self.routable,
            availability_zone=self.availability_zone,
        )
        self.fill_key(message.actual_lrp_key)
        self.fill_instance_key(message.actual_lrp_instance_key)
        message.actual_lrp_net_info.MergeFromString(self.net_info)
        message.modification_tag.epoch = self.tag.epoch
        message.modification_tag.index = self.tag.index
        for hostname in self.internal_routes or ():
            message.actual_lrp_internal_routes.add(hostname=hostname)
        return message

    def fill_key(self, key: pb.ActualLRPKey) -> None:
        key.process_guid = self.process_guid
        key.index = self.index
        key.domain = self.domain

    def fill_instance_key(self, key: pb.ActualLRPInstanceKey) -> None:
        key.instance_guid = self.instance.instance_guid
        key.cell_id = self.instance.cell_id


class Rows(NamedTuple):
    """The rows of one process guid and index, at most one of each presence.

    The fields stand in the order of `Presence`, so ``rows[presence]`` is the row of that presence.
    """

    ordinary: ActualLRP | None = None
    evacuating: ActualLRP | None = None
    suspect: ActualLRP | None = None

    def present(self) -> tuple[ActualLRP, ...]:
        """The rows there are, in primary-key order (spec: actual-lrps.md §0)."""
        return tuple(row for row in self if row is not None)

    def held_by(self, instance: InstanceKey) -> ActualLRP | None:
        """The first row, in primary-key order, with this instance key. Rows that nobody has claimed share the empty one."""
        for row in self:  # a generator would take longer than the comparisons
            if row is not None and row.instance == instance:
                return row
        return None
