"""A route-emitter, which believes events and checks them.

It subscribes, lists, and from then on knows what runs from events alone. What it demands of them (spec: events.md):

*ordered*: an instance's modification tag never goes back while a stream lasts.
*no gap*: the `before` of a change, and what is removed, is what the mirror has.
*no loss*: at quiet moments the mirror equals the server's rows.

Some events are told of rows that stay (spec: events.md §8.2, actual-lrps.md §4.2): a retired row is said to be gone when
its cell has been asked to stop it, and where an evacuating row has the instance key of the ordinary one, it goes with
it. The mirror remembers what it was told to drop, and takes a row that the server still has for no loss if it is that.

Events between subscribing and listing tell what the list may already show. They are applied all the same, since in the
end they lead to the same rows; only the checks begin later, with the event of a write made after the list.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

import trio

from bbs.client import (
    BadEventSourceResponse,
    BBSClient,
    EndOfStream,
    Event,
    EventSource,
    InternalBBSClient,
    RawSourceError,
    TransportError,
)
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, Presence
from bbs.models.errors import BBSError, ResourceExists
from bbs.models.wire import encode
from bbs.testing._cell import CONFIG, Tell
from bbs.testing._network import Network
from tests.records import desired_message

SENTINELS: Final = "sentinels"
"""The domain of what route-emitters desire for themselves: nothing, but its changes are events."""

RESUBSCRIBE_S: Final = 1.0

Key = tuple[str, int, int]
"""Process guid, index, presence."""

Endpoint = tuple[str, str]
"""Cell and instance guid."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A row, as far as all kinds of events tell of it."""

    epoch: str
    index: int
    state: str
    cell_id: str
    instance_guid: str
    net_info: bytes
    routable: bool
    since: int
    crash_count: int

    @classmethod
    def of(cls, row: "pb.ActualLRP | pb.ActualLRPInfo", instance: pb.ActualLRPInstanceKey) -> "Seen":
        held = row.state in ("CLAIMED", "RUNNING")
        return cls(
            row.modification_tag.epoch,
            row.modification_tag.index,
            row.state,
            instance.cell_id if held else "",
            instance.instance_guid if held else "",
            encode(row.actual_lrp_net_info),
            row.routable if isinstance(row, pb.ActualLRP) else row.Routable,
            row.since,
            row.crash_count,
        )

    def is_before(self, other: "Seen") -> bool:
        return self.epoch == other.epoch and self.index < other.index

    def __str__(self) -> str:
        where = f" {self.instance_guid}" if self.instance_guid else ""
        return f"{self.state}{where} {self.epoch}#{self.index}"


class RouteEmitter:
    def __init__(
        self, name: str, network: Network, tell: Tell, *, on_event: Callable[[], None] = lambda: None
    ) -> None:
        self.name: Final = name
        self.rows: dict[Key, Seen] = {}
        self.desired: dict[str, tuple[str, int]] = {}
        """Modification tags of DesiredLRPs."""
        self.violations: list[str] = []
        self.events = 0
        self.subscriptions = 0
        self.is_in_step = False
        self._told_gone: dict[Key, Seen] = {}
        self._newest: dict[tuple[str, int, str], int] = {}
        self._network = network
        self._tell = tell
        self._on_event = on_event
        self._sentinel = f"sentinel-{name}"
        self._mark = ""

    async def run(self) -> NoReturn:
        connector = self._network.connector(self.name)
        async with InternalBBSClient.connect(CONFIG, connector=connector) as bbs:
            while True:
                await self._follow_one_stream(bbs)
                self.is_in_step = False
                await trio.sleep(RESUBSCRIBE_S)

    def endpoints(self, process_guid: str, index: int) -> Iterator[Endpoint]:
        """Where requests for an instance are sent."""
        for presence in Presence:
            row = self.rows.get((process_guid, index, presence))
            if row is not None and row.state == "RUNNING" and row.routable:
                yield row.cell_id, row.instance_guid

    def differences(self, rows: "dict[Key, Seen]", desired: dict[str, tuple[str, int]]) -> list[str]:
        """How the mirror differs from the server's rows."""
        if not self.is_in_step:
            return [f"{self.name} has not caught up"]
        found = [
            f"{self.name} knows {mine} at {key}, the server {rows.get(key)}"
            for key, mine in self.rows.items()
            if rows.get(key) != mine
        ]
        found += [
            f"{self.name} does not know {row} at {key}"
            for key, row in rows.items()
            if key not in self.rows and self._told_gone.get(key) != row
        ]
        if self.desired != desired:
            found.append(f"{self.name} knows other DesiredLRPs than the server")
        return found

    async def _follow_one_stream(self, bbs: InternalBBSClient) -> None:
        """Until it breaks. The client would reconnect by itself and go on as if nothing had been missed."""
        connections = iter([True])
        connector = self._network.connector(self.name, may_connect=lambda: next(connections, False))
        async with BBSClient.connect(CONFIG, connector=connector) as streams:
            try:
                async with await streams.subscribe_to_instance_events() as source:
                    await self._list(bbs)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._make_mark, bbs)
                        await self._read(source)
                        nursery.cancel_scope.cancel()
            except (TransportError, BadEventSourceResponse, BBSError) as error:
                self._tell(f"{self.name} not subscribed: {error}")

    async def _list(self, bbs: InternalBBSClient) -> None:
        self.subscriptions += 1
        self._mark = f"{self.name}-{self.subscriptions}"
        self._newest.clear()
        self._told_gone.clear()
        self.rows = {
            _key(row.actual_lrp_key, row.presence): Seen.of(row, row.actual_lrp_instance_key)
            for row in await bbs.actual_lrps()
        }
        self.desired = {lrp.process_guid: _tag(lrp) for lrp in await bbs.desired_lrp_routing_infos()}

    async def _make_mark(self, bbs: InternalBBSClient) -> None:
        """Write something after the list, so that its event tells that the list has been left behind."""
        while True:
            try:
                try:
                    message = desired_message(self._sentinel)
                    message.domain, message.instances = SENTINELS, 0
                    await bbs.desire_lrp(message)
                except ResourceExists:
                    pass
                await bbs.update_desired_lrp(self._sentinel, pb.DesiredLRPUpdate(annotation=self._mark))
            except (BBSError, TransportError):
                await trio.sleep(1)
            else:
                return

    async def _read(self, source: EventSource) -> None:
        while True:
            try:
                event = await source.next()
            except (EndOfStream, RawSourceError) as end:
                self._tell(f"{self.name} stream ended: {end}")
                return
            self.events += 1
            self._apply(event)
            self._on_event()

    def _apply(self, event: Event) -> None:
        match event.message:
            case pb.ActualLRPInstanceCreatedEvent(actual_lrp=row):
                key = _key(row.actual_lrp_key, row.presence)
                self._created(key, Seen.of(row, row.actual_lrp_instance_key))
            case pb.ActualLRPInstanceChangedEvent() as change:
                instance = change.actual_lrp_instance_key
                # The event has one instance key, for both sides: it is the row's unless it has just been claimed anew.
                self._changed(
                    _key(change.actual_lrp_key, change.before.presence),
                    Seen.of(change.before, instance),
                    _key(change.actual_lrp_key, change.after.presence),
                    Seen.of(change.after, instance),
                )
            case pb.ActualLRPInstanceRemovedEvent(actual_lrp=row):
                key = _key(row.actual_lrp_key, row.presence)
                self._removed(key, Seen.of(row, row.actual_lrp_instance_key))
            case pb.ActualLRPCrashedEvent():
                pass  # what it says comes again as a change
            case pb.DesiredLRPCreatedEvent(desired_lrp=lrp):
                self._desired_created(lrp)
            case pb.DesiredLRPChangedEvent(before=before, after=after):
                self._desired_changed(before, after)
            case pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
                if self.desired.pop(lrp.process_guid, None) != _tag(lrp):
                    self._demand(False, f"removed an unknown version of {lrp.process_guid}")
            case other:
                self._demand(False, f"an event of another stream: {other}")

    def _created(self, key: Key, row: Seen) -> None:
        self._tell(f"{self.name} + {key} {row}")
        self._advance(key, row)
        old = self.rows.get(key)
        # A crash tells of the new row before it tells of the old one's end; an evacuating row is created twice.
        self._demand(old is None or old.is_before(row), f"{key} created as {row}, but there is {old}")
        self._put(key, row)

    def _changed(self, key_before: Key, before: Seen, key: Key, row: Seen) -> None:
        self._tell(f"{self.name} * {key_before} {before} -> {key} {row}")
        self._advance(key, row)
        known = self.rows.get(key_before) or self._told_gone.get(key_before)
        self._demand(
            known is not None
            and (known.epoch, known.index, known.state) == (before.epoch, before.index, before.state),
            f"{key_before} changed from {before}, but the last of it was {known}",
        )
        if key != key_before:
            self._drop(key_before)
        self._put(key, row)

    def _removed(self, key: Key, row: Seen) -> None:
        self._tell(f"{self.name} - {key} {row}")
        known = self.rows.get(key)
        if known == row:
            self._drop(key)
        elif known is None:
            self._demand(
                self._told_gone.get(key) == row,
                f"{key} removed as {row}, but there was none since {self._told_gone.get(key)}",
            )
        else:
            self._demand(row.is_before(known), f"{key} removed as {row}, but there is {known}")

    def _desired_created(self, lrp: pb.DesiredLRP) -> None:
        self._demand(lrp.process_guid not in self.desired, f"{lrp.process_guid} desired twice")
        self.desired[lrp.process_guid] = _tag(lrp)

    def _desired_changed(self, before: pb.DesiredLRP, after: pb.DesiredLRP) -> None:
        if after.process_guid == self._sentinel and after.annotation == self._mark:
            self.desired[after.process_guid] = _tag(after)
            self.is_in_step = True
            self._tell(f"{self.name} is in step")
        known = self.desired.get(after.process_guid)
        self._demand(
            known == _tag(before) or after.process_guid == self._sentinel,
            f"{after.process_guid} updated from {_tag(before)}, but known as {known}",
        )
        self.desired[after.process_guid] = _tag(after)

    def _advance(self, key: Key, row: Seen) -> None:
        slot = (key[0], key[1], row.epoch)
        newest = self._newest.get(slot, -1)
        if row.index < newest:
            self.violations.append(f"{self.name}: {key} goes back from #{newest} to {row}")
        self._newest[slot] = max(newest, row.index)

    def _put(self, key: Key, row: Seen) -> None:
        self.rows[key] = row
        self._told_gone.pop(key, None)

    def _drop(self, key: Key) -> None:
        row = self.rows.pop(key, None)
        if row is not None:
            self._told_gone[key] = row

    def _demand(self, holds: bool, otherwise: str) -> None:
        if self.is_in_step and not holds:
            self.violations.append(f"{self.name}: {otherwise}")


class GroupListener:
    """Follows the deprecated stream of groups, so that its events are made too. It believes what it is told."""

    def __init__(self, network: Network) -> None:
        self.events = 0
        self._network = network

    async def run(self) -> NoReturn:
        while True:
            connector = self._network.connector("group-listener")
            async with BBSClient.connect(CONFIG, connector=connector) as bbs:
                with suppress(TransportError, BadEventSourceResponse, RawSourceError):
                    async with await bbs.subscribe_to_events() as source:
                        async for _ in source:
                            self.events += 1
            await trio.sleep(RESUBSCRIBE_S)


def seen(lrp: ActualLRP) -> tuple[Key, Seen]:
    message = lrp.message()
    key = _key(message.actual_lrp_key, int(lrp.presence))
    return key, Seen.of(message, message.actual_lrp_instance_key)


def _key(key: pb.ActualLRPKey, presence: int) -> Key:
    return key.process_guid, key.index, int(presence)


def _tag(lrp: pb.DesiredLRP | pb.DesiredLRPSchedulingInfo) -> tuple[str, int]:
    return lrp.modification_tag.epoch, lrp.modification_tag.index
