"""Writers that know what must be there, for tests that break something under them: a server, its database, its network.

Each writer has a process of its own and does one thing after the other to it, so it knows at any time what may be found:

* after an answer without an error, what the request made of the state before;
* after an answer with an error about the database, the state before: such a write has changed nothing, or is undone;
* after a connection that broke, either of the two, and nothing else.

`look` compares what the server says with that, with the events that a `Watcher` has seen, and with the database's rows.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final

import trio

from bbs.client import EventSourceError, InternalBBSClient, RunningReport, TransportError
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.errors import RequestTimeout, UnknownError
from bbs.models.versions import with_metrics_guid
from bbs.store.crypto import Keyring
from bbs.store.store import ENDED
from tests.databases import SomeDatabase
from tests.records import desired_message

GONE: Final = (TransportError, RequestTimeout, EventSourceError)
"""What a client meets when its server dies."""


@dataclass(frozen=True, slots=True)
class State:
    """What there is of one process: the annotation of its DesiredLRP, and the state and instance guid of its one row."""

    annotation: str | None = None
    row: tuple[str, str] | None = None


Effect = Callable[[State], State]


@dataclass(frozen=True, slots=True)
class Step:
    """One request, and what it makes of the state once it is durable."""

    send: Callable[[InternalBBSClient], Any]
    effect: Effect


@dataclass
class Writer:
    """``under_way`` is the request that has not been answered, or whose answer says that nobody knows. ``errors``
    are the answers about the database.
    """

    process_guid: str
    random: random.Random
    state: State = State()
    under_way: Step | None = None
    acknowledged: int = 0
    errors: list[str] = field(default_factory=list)
    count: int = 0

    async def write(
        self,
        client: InternalBBSClient,
        on_answer: Callable[[], None],
        *,
        is_over: trio.Event | None = None,
        may_fail: bool = False,
    ) -> None:
        """One step after the other, until the server is gone or ``is_over`` is set.

        Raises:
          UnknownError: the database failed the server, and this was not said to be expected by ``may_fail``.
        """
        try:
            while is_over is None or not is_over.is_set():
                self.under_way = self.random.choice(list(self._steps()))
                try:
                    await self.under_way.send(client)
                except UnknownError as error:
                    if ENDED in str(error):
                        return
                    if not may_fail:
                        raise
                    self.errors.append(str(error))
                else:
                    self.state = self.under_way.effect(self.state)
                    self.acknowledged += 1
                self.under_way = None
                on_answer()
        except GONE:
            pass

    def possible(self) -> list[State]:
        """What may be found now."""
        return [self.state] if self.under_way is None else [self.state, self.under_way.effect(self.state)]

    def _steps(self) -> Iterator[Step]:
        """What this writer may do now without being refused."""
        self.count += 1
        guid, text = self.process_guid, f"annotation {self.count}"
        key = pb.ActualLRPKey(process_guid=guid, index=0, domain="d")
        if self.state.annotation is None:
            lrp = desired_message(guid, annotation=text)
            yield Step(
                lambda client: client.desire_lrp(lrp),
                lambda state: State(text, state.row or ("UNCLAIMED", "")),
            )
        else:
            update = pb.DesiredLRPUpdate(annotation=text)
            yield Step(
                lambda client: client.update_desired_lrp(guid, update),
                lambda state: replace(state, annotation=text),
            )
            yield Step(
                lambda client: client.remove_desired_lrp(guid),
                lambda state: State(None, None if state.row == ("UNCLAIMED", "") else state.row),
            )
        if self.state.row is None:
            return
        state, instance = self.state.row
        if state == "UNCLAIMED":
            instance = f"instance {self.count}"
        instance_key = pb.ActualLRPInstanceKey(instance_guid=instance, cell_id="c")
        report = RunningReport(net_info=pb.ActualLRPNetInfo(address="10.0.0.1"), routable=True)
        yield Step(
            lambda client: client.claim_actual_lrp(key, instance_key),
            lambda state: replace(state, row=("CLAIMED", instance)),
        )
        yield Step(
            lambda client: client.start_actual_lrp(key, instance_key, report),
            lambda state: replace(state, row=("RUNNING", instance)),
        )
        if state != "UNCLAIMED":
            yield Step(
                lambda client: client.remove_actual_lrp(key, instance_key),
                lambda state: replace(state, row=None),
            )


@dataclass
class Watcher:
    """Remembers the newest tag of each record that an event told of, and which records an event said are gone."""

    told: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    events: int = 0

    async def watch(self, client: InternalBBSClient, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with await client.subscribe_to_instance_events() as events:
                task_status.started()
                while True:
                    self._note((await events.next()).message)
        except GONE:
            pass

    def _note(self, message: Any) -> None:
        self.events += 1
        match message:
            case pb.DesiredLRPCreatedEvent(desired_lrp=lrp) | pb.DesiredLRPChangedEvent(after=lrp):
                self._newest("desired", lrp.process_guid, lrp.modification_tag)
            case pb.DesiredLRPRemovedEvent(desired_lrp=lrp):
                self.told.pop(("desired", lrp.process_guid), None)
            case pb.ActualLRPInstanceCreatedEvent(actual_lrp=lrp):
                self._newest("actual", lrp.actual_lrp_key.process_guid, lrp.modification_tag)
            case pb.ActualLRPInstanceChangedEvent():
                key, tag = message.actual_lrp_key, message.after.modification_tag
                self._newest("actual", key.process_guid, tag)
            case pb.ActualLRPInstanceRemovedEvent(actual_lrp=lrp):
                self.told.pop(("actual", lrp.actual_lrp_key.process_guid), None)

    def _newest(self, kind: str, process_guid: str, tag: pb.ModificationTag) -> None:
        self.told[kind, process_guid] = (tag.epoch, tag.index)

    def must_not_be_contradicted(self, found: dict[tuple[str, str], pb.ModificationTag]) -> None:
        """What an event told of is there in this version or a later one, unless it went after that."""
        for about, (epoch, index) in self.told.items():
            tag = found.get(about)
            if tag is not None and tag.epoch == epoch:
                assert tag.index >= index, (
                    f"an event told of version {index} of {about}, and there is {tag.index}"
                )


async def look(
    client: InternalBBSClient,
    writers: Iterable[Writer],
    watcher: Watcher,
    database: SomeDatabase,
    keyring: Keyring,
) -> None:
    """Compare what the server has with the writers' models, the events, and the database, while nobody writes.

    Of requests that were not answered the writers then know what became of them, and can go on.
    """
    desired = {lrp.process_guid: lrp for lrp in await client.desired_lrps()}
    actual = {lrp.actual_lrp_key.process_guid: lrp for lrp in await client.actual_lrps()}
    for writer in writers:
        lrp, row = desired.get(writer.process_guid), actual.get(writer.process_guid)
        found = State(
            None if lrp is None else lrp.annotation,
            None if row is None else (row.state, row.actual_lrp_instance_key.instance_guid),
        )
        assert found in writer.possible(), f"{writer.process_guid}: {found} is none of {writer.possible()}"
        writer.state, writer.under_way = found, None
    watcher.must_not_be_contradicted(
        {("desired", guid): lrp.modification_tag for guid, lrp in desired.items()}
        | {("actual", guid): lrp.modification_tag for guid, lrp in actual.items()}
    )
    for record in await database.records(DesiredLRP, keyring):
        assert isinstance(record, DesiredLRP)
        assert desired.pop(record.process_guid) == with_metrics_guid(record.message())
    for record in await database.records(ActualLRP, keyring):
        assert isinstance(record, ActualLRP)
        assert actual.pop(record.process_guid) == record.message()
    assert (desired, actual) == ({}, {}), "in memory, and not in the database"
